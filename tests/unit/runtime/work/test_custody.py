"""What is kept for others is kept as long as a job needs it, and no longer."""

from dataclasses import dataclass, field, replace

import pytest

from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.work.custody import Custody
from nunet_node.storage.errors import BlockMissingError
from tests.runtime_kit import store_files

JOB = "j" * 32
OTHER = "k" * 32


@dataclass
class Spec:
    """As much of a specification as matters here."""

    inputs: object = None


@dataclass
class Job:
    """As much of a job in the ledger as matters here."""

    job: str = JOB
    attempt: int = 1
    ended: bool = False
    expired: bool = False
    log: object = None
    packed: object = None
    result: object = None
    spec: Spec = field(default_factory=Spec)


@pytest.fixture
def custody(tmp_path):
    made = Custody.open(tmp_path / "kept")
    yield made
    made.store.close()


@pytest.fixture
def tree(custody, tmp_path):
    """Store a tree of one word, and return its root."""

    def make(word):
        return store_files(custody.store, tmp_path / word, {"a": word.encode()}).root

    return make


def blocks(custody):
    return set(custody.store.cids())


def test_inputs_go_with_the_end_of_their_job_and_the_result_stays(custody, tree):
    inputs, result = tree("inputs"), tree("result")
    custody.keep_inputs(JOB, 1, inputs)
    custody.keep_result(JOB, 1, blocks_under(custody.store, result))
    custody.ended(JOB, 1, has_result=True)
    assert not custody.store.has(inputs)
    assert custody.store.has(result)
    assert len(blocks(custody)) == 2


def test_inputs_that_another_job_needs_stay(custody, tree):
    inputs = tree("inputs")
    custody.keep_inputs(JOB, 1, inputs)
    custody.keep_inputs(OTHER, 1, inputs)
    custody.ended(JOB, 1, has_result=True)
    assert custody.store.has(inputs)
    custody.ended(OTHER, 1, has_result=True)
    assert blocks(custody) == set()


def test_the_results_of_earlier_attempts_go(custody, tree):
    first, second = tree("first"), tree("second")
    custody.keep_result(JOB, 1, blocks_under(custody.store, first))
    custody.keep_result(JOB, 2, blocks_under(custody.store, second))
    custody.ended(JOB, 2, has_result=True)
    assert not custody.store.has(first)
    assert custody.store.has(second)


def test_the_inputs_of_a_later_attempt_outlive_the_end_of_an_earlier_one(custody, tree):
    inputs = tree("inputs")
    custody.keep_inputs(JOB, 1, inputs)
    custody.keep_inputs(JOB, 2, inputs)
    custody.ended(JOB, 1, has_result=True)
    assert custody.store.has(inputs)


LIVES = [
    ({}, {"inputs"}),
    ({"attempt": 2}, {"inputs"}),
    ({"ended": True, "result": "result"}, {"result"}),
    ({"ended": True}, set()),
    ({"ended": True, "result": "result", "expired": True}, set()),
    (None, set()),
]


@pytest.mark.parametrize("pins", ["whole", "gone", "half"])
@pytest.mark.parametrize(("life", "kept"), LIVES)
def test_a_new_process_keeps_what_the_ledger_says(
    custody, tmp_path, tree, life, kept, pins
):
    roots = {word: tree(word) for word in ("inputs", "result", "loose")}
    custody.keep_inputs(JOB, 1, roots["inputs"])
    custody.keep_result(JOB, 1, blocks_under(custody.store, roots["result"]))
    for path in (tmp_path / "kept/pins").iterdir():
        if pins == "gone":
            path.unlink()
        elif pins == "half":
            path.write_bytes(path.read_bytes()[:50])
    again = Custody(custody.store, tmp_path / "kept/pins")
    again.begin({JOB: a_job(life, roots)} if life is not None else {})
    assert {word for word, root in roots.items() if again.store.has(root)} == kept


def test_a_pin_of_another_result_does_not_keep_the_one_in_the_ledger(
    custody, tmp_path, tree
):
    roots = {word: tree(word) for word in ("inputs", "result", "other")}
    custody.keep_result(JOB, 1, blocks_under(custody.store, roots["other"]))
    again = Custody(custody.store, tmp_path / "kept/pins")
    again.begin({JOB: a_job({"ended": True, "result": "result"}, roots)})
    assert {word for word in roots if again.store.has(roots[word])} == {"result"}


def a_job(life, roots):
    job = Job(**life, spec=Spec(inputs=roots["inputs"]))
    return replace(job, result=roots.get(job.result))


def test_what_is_not_there_cannot_be_kept(custody, tree):
    root = tree("inputs")
    custody.store.delete(root)
    with pytest.raises(BlockMissingError):
        custody.keep_inputs(JOB, 1, root)


def test_the_end_of_an_unknown_job_is_nothing(custody):
    custody.ended(OTHER, 1, has_result=True)
    assert blocks(custody) == set()
