"""Which job a person means: an id, the beginning of one, or a name.

Rule: a word that could mean two jobs means neither, because the next command may
be a cancel.
"""

from collections.abc import Mapping

from nunet_node.client.errors import AmbiguousJobError
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.order import Order


def find_order(orders: Mapping[JobId, Order], word: str) -> JobId | None:
    """Return the job that ``word`` means among the orders of this home, if any.

    A whole id comes before a name, and a name before the beginning of an id.

    Raises:
        AmbiguousJobError: it fits several.
    """
    if JobId(word) in orders:
        return JobId(word)
    named = [job for job, order in orders.items() if _name(order) == word]
    fitting = named or [job for job in orders if word and job.startswith(word)]
    if len(fitting) > 1:
        raise AmbiguousJobError(word, {job: orders[job].state for job in fitting})
    return fitting[0] if fitting else None


def _name(order: Order) -> str | None:
    return order.spec.name if order.spec else None
