"""What a provider keeps, whatever cluster its jobs run on.

Each test speaks to a real provider by its command line, and its jobs run on a real
cluster of two machines, of which only the second has two processors.
"""

from pathlib import Path

import pytest
import trio

from nunet_node.executors.cluster.executors import RUNNER
from nunet_node.executors.sandbox.given import VARIABLE
from tests.cluster.daemons import wait_for
from tests.e2e.held import Held, held_words, hold, new_marker, running
from tests.e2e.network import (
    NOT_RUN,
    ROOT,
    TIMED_OUT,
    Network,
    Node,
    User,
)

RETRY = """\
version: 1
name: again
command: {command}
resources:
  cpus: 2
retry:
  attempts: 3
"""


def configuration(cluster, directory: Path) -> Path:
    """Write what a provider on a cluster is told, and return the file."""
    words = ["/usr/bin/env", f"PYTHONPATH={ROOT}", *RUNNER, "--scratch"]
    runner = ", ".join(f'"{word}"' for word in (*words, directory / "runner"))
    path = directory / "node.toml"
    path.write_text(
        f'backend = "{cluster.backend}"\n[cluster]\n{cluster.settings()}\n'
        f'poll = "1s"\nrunner = [{runner}]\n'
        'gpus = { A100 = "vendor=nvidia,model=A100-SXM4,vram=40GiB" }\n'
    )
    return path


def provider(net: Network, config: Path, *words: object, home=None) -> Node:
    """Start a provider on a cluster."""
    return net.node("--config", config, *words, home=home)


def offered(user: User, node: Node, cpus: int) -> int:
    """Return how many processors a provider offers, once they are so many."""
    heard = user.hears(
        node, lambda heard: heard and heard["total"]["cpu_millis"] == cpus * 1000
    )
    return heard["total"]["cpu_millis"] // 1000


class Behaviour:
    """Collected where a class names its cluster."""

    def test_what_is_offered_is_what_the_cluster_has(self, cluster, user, node):
        assert offered(user, node, cluster.cpus) == cluster.cpus
        heard = user.heard(node)
        assert {"python", "process"} <= set(heard["engines"])

    def test_a_doctor_names_the_cluster_and_what_held(self, cluster, user, config):
        found = user.run("doctor", "--config", config).must().document
        assert cluster.backend in found["backend"].lower()
        assert len(found["machines"]) == 2
        held = {each["engine"]: each for each in found["engines"]}
        assert held["process"]["ready"]
        assert all(each["held"] for each in held["process"]["barriers"])

    def test_a_job_takes_its_inputs_there_and_its_outputs_back(self, user):
        user.write("given.txt", "given\n")
        script = "cat given.txt; echo wrong >&2; mkdir -p out; tr a-z A-Z <given.txt >out/made"
        words = ("--input", "given.txt", "--output", "out", "--", "sh", "-c", script)
        shown = user.submit("--name", "there", *words).must().document
        assert shown["state"] == "completed"
        result = user.cwd / "there"
        assert (result / "stdout").read_text() == "given\n"
        assert (result / "stderr").read_text() == "wrong\n"
        assert (result / "outputs/out/made").read_text() == "GIVEN\n"

    def test_a_script_runs_in_the_sandbox_of_its_engine(self, user):
        user.write("main.py", "import sys; print(sys.platform)\n")
        user.submit("--name", "script", "main.py").must()
        assert (user.cwd / "script/stdout").read_text() == "wasi\n"

    def test_output_is_seen_while_the_job_runs(self, user):
        marker = new_marker()
        submitting = user.submitting(*held_words(marker), json=False)
        assert submitting.out.wait(lambda line: "begun" in line), str(submitting)
        Held({}, marker).tell()
        ended = submitting.finished().must()
        assert "told" in ended.out

    def test_a_cancel_ends_everything_of_a_job(self, cluster, user, node):
        held = running(user, node)
        process = held.process()
        user.run("cancel", held.job).must()
        held.gone(process)
        node.moved(held.job, "cancelled")
        nothing_lives(cluster)

    def test_a_job_that_takes_too_long_is_ended(self, cluster, user):
        marker = new_marker()
        words = ("--timeout", "2s", *held_words(marker))
        shown = user.submit(*words).must(TIMED_OUT).document
        assert shown["state"] == "timed_out"
        assert Held({}, marker).find() is None
        nothing_lives(cluster)

    def test_what_no_machine_can_hold_is_refused_at_once(self, cluster, user, node):
        assert offered(user, node, cluster.cpus) == cluster.cpus
        asked = ("--cpus", cluster.largest_cpus + 1, "--", "true")
        refused = user.submit(*asked).must(NOT_RUN).document
        assert refused["state"] == "refused"
        assert f"{cluster.largest_cpus} CPU" in refused["reason"]

    def test_jobs_that_no_machine_could_hold_together_run_together(
        self, cluster, user, node
    ):
        assert offered(user, node, cluster.cpus) == cluster.cpus
        small = ("--memory", "16MiB", "--disk", "16MiB")
        every = [running(user, node, *small) for _ in range(3)]
        processes = [held.process() for held in every]
        assert all(process.is_running() for process in processes)
        for held in every:
            held.tell()
        for held in every:
            node.moved(held.job, "completed")

    def test_a_job_has_the_gpus_that_the_cluster_gave_it(self, cluster, user, node):
        assert offered(user, node, cluster.cpus) == cluster.cpus
        words = ("--gpu", "2,model=A100,vram=40GiB", "--name", "both")
        user.submit(*words, "--", "printenv", VARIABLE).must()
        assert (user.cwd / "both/stdout").read_text() == "0,1\n"

    @pytest.mark.parametrize(
        "asked", ["3", "1,vram=41GiB", "2,model=T4", "1,vendor=amd"]
    )
    def test_gpus_that_no_machine_has_are_refused_at_once(
        self, cluster, user, node, asked
    ):
        assert offered(user, node, cluster.cpus) == cluster.cpus
        refused = user.submit("--gpu", asked, "--", "true").must(NOT_RUN).document
        assert refused["state"] == "refused"
        assert "no room ever: gpus" in refused["reason"]

    def test_gpus_that_nobody_described_have_no_memory_to_promise(
        self, cluster, user, node
    ):
        assert offered(user, node, cluster.cpus) == cluster.cpus
        kinds = user.heard(node)["total"]["gpus"]
        assert sorted(
            (k.get("vendor", ""), k.get("memory_bytes", 0)) for k in kinds
        ) == [
            ("", 0),
            ("nvidia", 40 << 30),
        ]

    def test_a_machine_that_dies_loses_its_job_which_is_tried_again(
        self, cluster, user, node
    ):
        assert offered(user, node, cluster.cpus) == cluster.cpus
        marker = new_marker()
        command = list(held_words(marker)[1:])
        user.write("again.yaml", RETRY.format(command=command))
        held = Held(user.detached("again.yaml"), marker)
        process = held.process()

        cluster.lose_power(process)
        held.gone(process)
        cluster.come_back()

        tried = node.event(lambda it: it.get("job") == held.job and it["attempt"] == 2)
        assert "was lost" in tried["reason"]
        held.tell()
        node.moved(held.job, "completed")
        assert user.status(held.job)["state"] == "completed"
        assert offered(user, node, cluster.cpus) == cluster.cpus

    def test_a_killed_provider_leaves_nothing_behind(self, cluster, net, config):
        first = provider(net, config)
        user = net.user(first)
        held = hold(user)
        process = held.process()
        first.kill()
        held.gone(process)

        listen = ("--listen", first.address.partition("/p2p/")[0])
        again = provider(net, config, *listen, home=first.home)

        lost = again.moved(held.job, "lost")
        assert lost["reason"] == "the provider went down while it ran"
        nothing_lives(cluster)


def nothing_lives(cluster) -> None:
    """Wait until the cluster itself knows of no job of ours that has not ended."""

    async def living():
        adapter = cluster.adapter
        try:
            return await adapter.living()
        finally:
            await adapter.close()

    wait_for("the end of every job", lambda: not trio.run(living))
