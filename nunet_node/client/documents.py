"""What programs read about jobs and nodes: plain maps, ready for JSON.

Rule: the keys are a contract; a key is always there, with null where nothing is
known. Prices are in NTX for a CPU-hour, exact.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from nunet_node.client.fetching.copies import Copy
from nunet_node.identity.statement import Statement
from nunet_node.jobs.link import format_link
from nunet_node.jobs.statements import Queue, Report
from nunet_node.market.offers import Advert, Machine
from nunet_node.protocol.order import Order
from nunet_node.quantities import ResourceVector
from nunet_node.wire.schema import to_plain

_MICRO: Final = 10**6

Document = dict[str, Any]


def order_document(order: Order, report: Report | None = None) -> Document:
    """Return the short document of a job: what ``submit`` and ``list`` print."""
    told = report or order
    award = order.award if order.in_custody or report else None
    return {
        "job": order.job,
        "name": _name(order, report),
        "state": str(told.state),
        "owner": order.owner or (report.owner if report else None),
        "provider": award.provider if award else None,
        "exit_code": told.exit_code,
        "reason": told.reason,
        "result": _result(order, report),
    }


def status_document(
    order: Order,
    report: Report | None = None,
    *,
    copies: Sequence[Copy] | None = None,
    now_s: int = 0,
) -> Document:
    """Return all that is known of a job: what ``status`` and ``wait`` print.

    Args:
        order: the job's record here.
        report: what its provider says now, if it was asked.
        copies: those that were found instead, if holders were asked.
        now_s: unix seconds, by which a result's time may be over.
    """
    told = report or order
    wanted = order.spec.resources if order.spec else None
    history = report.history if report and report.history else order.history
    return {
        **order_document(order, report),
        "resources": _resources(report.resources if report else wanted),
        "queue": _queue(told.queue),
        "retention": _retention(order, report, copies, now_s),
        "history": [
            {"state": str(move.state), "at": move.at_s, "reason": move.reason}
            for move in history
        ],
        "bids": [
            {
                "provider": bid.provider,
                "price": _price(bid.price_micro_ntx),
                "refused": bid.refused or None,
            }
            for bid in order.bids
        ],
    }


def job_document(order: Order) -> Document:
    """Return what ``cancel`` prints: the job, its state and the confirmation."""
    confirmed = order.confirmation
    return {
        "job": order.job,
        "state": str(confirmed.state if confirmed else order.state),
        "confirmation": {
            "job": confirmed.job,
            "owner": confirmed.owner,
            "attempt": confirmed.attempt,
            "state": str(confirmed.state),
            "at": confirmed.at_s,
            "already_ended": confirmed.already_ended,
            "reason": confirmed.reason,
            "provider": order.award.provider if order.award else None,
        }
        if confirmed
        else None,
    }


def node_documents(adverts: Iterable[Statement[Advert]], now_s: int) -> list[Document]:
    """Return who is on the network, in the order of first hearing."""
    return [
        {
            "did": heard.issuer,
            "peer_id": heard.payload.peer_id,
            "engines": [offer.engine for offer in heard.payload.engines if offer.ready],
            "total": _resources(heard.payload.total),
            "free": _resources(heard.payload.free),
            "largest": [_resources(room) for room in heard.payload.rooms],
            "run_s_max": heard.payload.run_s_max,
            "seen_s": max(0, now_s - heard.issued_at_s),
            "price": _price(heard.payload.price_micro_ntx),
            "queued": heard.payload.queued,
            "addresses": list(heard.payload.addresses),
            "machine": _machine(heard.payload.machine),
        }
        for heard in adverts
    ]


def _machine(machine: Machine | None) -> Document | None:
    return None if machine is None else dict(to_plain(machine))


def _name(order: Order, report: Report | None) -> str | None:
    if order.spec is not None:
        return order.spec.name
    return report.name if report else None


def _result(order: Order, report: Report | None) -> Document | None:
    root = order.result or (report.result if report else None)
    if root is None:
        return None
    return {
        "cid": str(root),
        "link": order.link or _link(order, report),
        "path": order.fetched_to or None,
    }


def _link(order: Order, report: Report | None) -> str | None:
    owner = order.owner or (report.owner if report else None)
    if owner is None or order.award is None:
        return None
    award = order.award
    return format_link(order.job, owner, award.provider, award.addresses)


def _retention(
    order: Order, report: Report | None, copies: Sequence[Copy] | None, now_s: int
) -> Document | None:
    """Return for how long the result is kept, and where else than at its provider."""
    if _result(order, report) is None:
        return None
    until_s = report.kept_until_s if report else 0
    if copies:
        until_s = until_s or copies[0].receipt.kept_until_s
    if not until_s and order.spec is not None and order.history:
        until_s = order.history[-1].at_s + order.spec.retention_s
    replicas = report.replicas if report else None
    if replicas is None and copies is not None:
        replicas = tuple(copy.holder for copy in copies)
    return {
        "until": until_s or None,
        "expired": bool(report and report.expired) or 0 < until_s <= now_s,
        "replicas_wanted": order.spec.replicas if order.spec else None,
        "replicas": None if replicas is None else list(replicas),
        "replicas_told_by": _teller(report, copies),
    }


def _teller(report: Report | None, copies: Sequence[Copy] | None) -> str | None:
    """Return who said where the copies are: its provider, or each holder of its own."""
    if report is not None:
        return "provider"
    return None if copies is None else "holders"


def _resources(amount: ResourceVector | None) -> Document | None:
    if amount is None:
        return None
    names = (name for name in amount.__struct_fields__ if name != "gpus")
    told: Document = {name: getattr(amount, name) for name in names}
    if amount.gpu_kinds:
        told["gpus"] = [to_plain(kind) for kind in amount.gpu_kinds]
    return told


def _queue(queue: Queue | None) -> Document | None:
    if queue is None:
        return None
    return {
        "position": queue.position,
        "reason": queue.reason,
        "estimate_s": queue.estimate_s,
    }


def _price(micro_ntx: int | None) -> Decimal | None:
    return None if micro_ntx is None else Decimal(micro_ntx) / _MICRO
