"""What `submit` promises to whoever waits for it, and to whoever does not."""

import os
import signal

import pytest

from tests.e2e.held import Held, held_words, new_marker, running
from tests.e2e.network import CANCELLED, TIMED_OUT, Node, User

KEYS = {
    *("job", "name", "state", "owner", "provider", "exit_code", "reason", "result"),
}


def test_the_document_has_every_key_and_stdout_is_json_alone(user: User, node: Node):
    ended = user.submit("--name", "said", "--", "echo", "not JSON").must()
    shown = ended.document
    assert set(shown) == KEYS
    assert (shown["state"], shown["exit_code"], shown["name"]) == (
        *("completed", 0),
        "said",
    )
    assert shown["owner"] == user.did()
    assert shown["provider"] == node.did
    assert set(shown["result"]) == {"cid", "link", "path"}
    assert "not JSON" in ended.err


def test_a_pipe_sees_what_the_job_writes_and_nothing_else(user: User):
    ended = user.submit("--", "sh", "-c", "echo out; echo err >&2", json=False).must()
    assert ended.out == "out\n"
    assert "err\n" in ended.err


@pytest.mark.parametrize(
    ("script", "code", "state"),
    [("exit 3", 3, "failed"), ("kill -9 $$", 137, "failed")],
)
def test_the_exit_code_of_the_job_is_the_exit_code_of_submit(
    user: User, script: str, code: int, state: str
):
    shown = user.submit("--name", "end", "--", "sh", "-c", script).must(code).document
    assert (shown["state"], shown["exit_code"]) == (state, code)
    assert (user.cwd / "end/exit_code").read_text().strip() == str(code)


def test_a_job_over_its_time_ends_with_124(user: User):
    ended = user.submit("--timeout", "1s", "--", "sleep", "600").must(TIMED_OUT)
    assert ended.document["state"] == "timed_out"
    assert "1 s" in ended.document["reason"]


def test_a_command_that_is_not_there_fails_with_a_reason(user: User):
    ended = user.submit("--", "no-such-program")
    assert ended.code in {127, 125}, str(ended)
    assert ended.document["state"] == "failed"


def test_output_streams_while_the_job_runs(user: User):
    marker = new_marker()
    submitting = user.submitting(*held_words(marker), json=False)
    assert submitting.out.wait(lambda line: line == "begun\n") is not None
    Held({}, marker).tell()
    assert submitting.finished().must().out == "begun\ntold\n"


def test_ctrl_c_detaches_says_so_and_the_job_goes_on(user: User, node: Node):
    marker = new_marker()
    submitting = user.submitting(*held_words(marker), json=True)
    submitting.told("running")
    submitting.signal(signal.SIGINT)
    ended = submitting.finished().must(CANCELLED)
    assert "nunet-node wait" in ended.err
    job = ended.document["job"]
    assert user.status(job)["state"] == "running"
    confirmed = user.run("cancel", job).must().document
    assert confirmed["state"] == "cancelled"


def test_a_detached_job_is_waited_for_read_and_fetched_by_later_commands(
    user: User, node: Node
):
    held = running(user, node, "--name", "later")
    assert held.document["state"] in {"queued", "allocated", "starting", "running"}
    following = user.start("logs", "-f", "later", json=False)
    assert following.out.wait(lambda line: line == "begun\n") is not None
    early = user.run("get", "later").must(1)
    assert "running" in early.document["error"]["message"]
    waiting = user.start("wait", held.job[:8])
    held.tell()
    shown = waiting.finished().must().document
    assert shown["state"] == "completed"
    assert following.finished().must().out == "begun\ntold\n"
    fetched = user.run("get", held.job, "--out", "here").must().document
    assert fetched["result"]["path"] == str(user.cwd / "here")
    assert (user.cwd / "here/outputs/made.txt").read_text() == "made\n"


def test_from_acceptance_on_nothing_depends_on_the_submitting_process(
    user: User, node: Node
):
    marker = new_marker()
    user.write("in.txt", "in")
    submitting = user.submitting("--input", "in.txt", *held_words(marker))
    submitting.told("running")
    submitting.kill()
    [known] = user.run("list").must().document
    held = Held(known, marker)
    held.tell()
    node.moved(held.job, "completed")
    [known] = user.run("list").must().document
    assert known["state"] == "completed"
    user.run("get", held.job, "--out", "got").must()
    assert (user.cwd / "got/stdout").read_text() == "begun\ntold\n"
    told = user.status(held.job)
    assert [m["state"] for m in told["history"]][-1] == "completed"


def test_a_submitter_killed_before_any_provider_has_the_job_can_go_on(
    user: User, node: Node
):
    submitting = user.submitting("--", "true")
    submitting.told("calling")
    submitting.kill()
    listed = user.run("list").must().document
    [known] = listed
    waited = user.run("wait", known["job"], "--bootstrap", node.address)
    assert waited.must().document["state"] == "completed"


def test_a_result_does_not_overwrite_what_is_there(user: User):
    user.write("out/precious", "mine")
    ended = user.submit("--out", "out", "--", "true")
    assert ended.code not in {0, 3}
    assert "out" in ended.err
    assert (user.cwd / "out/precious").read_text() == "mine"
    assert user.run("list").must().document == []


def test_the_second_result_of_one_name_goes_to_its_id(user: User):
    first = user.submit("--name", "twin", "--", "true").must().document
    second = user.submit("--name", "twin", "--", "true").must().document
    assert first["job"] != second["job"]
    assert first["result"]["path"] == str(user.cwd / "twin")
    assert second["result"]["path"] == str(user.cwd / second["job"])


def test_jobs_that_outgrow_their_disk_fail_and_say_so(user: User):
    fill = "for i in 1 2 3 4; do head -c 7000000 /dev/zero > f$i; done; sleep 600"
    ended = user.submit("--disk", "8MiB", "--", "sh", "-c", fill)
    assert ended.code not in {0, 3}, str(ended)
    assert ended.document["state"] == "failed"
    assert "disk" in ended.document["reason"]


def test_jobs_that_outgrow_their_memory_fail_and_say_so(user: User):
    user.write("eat.py", "x = bytearray(400 << 20)\nprint(len(x))")
    ended = user.submit("--memory", "64MiB", "eat.py")
    assert ended.code not in {0, 3}, str(ended)
    assert ended.document["state"] == "failed"


def test_a_job_sees_no_network_and_no_home_of_the_node(user: User, node: Node):
    look = "ls -d /root 2>&-; ls /sys/class/net; cat /etc/shadow 2>&-; true"
    ended = user.submit("--", "sh", "-c", look, json=False).must()
    assert "root:" not in ended.out
    assert set(ended.out.split()) <= {"lo"}
    assert os.path.basename(os.getcwd()) not in ended.out
