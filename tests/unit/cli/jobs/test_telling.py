"""What people read of a job says where it stands, and what comes next."""

from nunet_node.cli.jobs.telling import _copies_text, next_after, status_text
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Engine, JobId, JobSpec
from nunet_node.jobs.statements import Move, Queue
from nunet_node.protocol.order import Order

JOB = JobId("a" * 32)
SPEC = JobSpec(name="co2", engine=Engine.PYTHON, command=("a.py",))


def test_the_status_tells_place_reason_and_history():
    order = Order(
        job=JOB,
        spec=SPEC,
        state=State.QUEUED,
        queue=Queue(position=2, reason="busy", estimate_s=5),
        history=(Move(state=State.QUEUED, at_s=0, reason="no room\x07"),),
    )

    text = status_text(order, None)

    assert "queued: place 2, starts in about 5 s: busy" in text
    assert "no room\\x07" in text
    assert "1 CPU, 256MiB memory, 128MiB disk" in text


def test_the_next_command_follows_from_the_state():
    assert "wait" in next_after(Order(job=JOB), None)
    assert "list" in next_after(Order(job=JOB, state=State.CANCELLED), None)


def test_copies_that_holders_told_of_are_only_those_that_were_found():
    shown = {"replicas_wanted": 2, "replicas": ["did:key:z6Mk1234"]}

    def text(told_by):
        return _copies_text({**shown, "replicas_told_by": told_by})

    assert text("holders") == "1 of 2 found: …z6Mk1234"
    assert text("provider") == "1 of 2: …z6Mk1234"
    assert _copies_text({**shown, "replicas": None}) == "2 wanted"


def test_of_a_job_from_elsewhere_only_what_was_found_is_said():
    nothing = {"replicas_wanted": None, "replicas": None, "replicas_told_by": None}
    assert _copies_text(nothing) is None
    assert _copies_text({**nothing, "replicas": []}) is None
    some = {**nothing, "replicas": ["did:key:z6Mk1234"], "replicas_told_by": "holders"}
    assert _copies_text(some) == "1 found: …z6Mk1234"
