"""A description becomes exactly one specification."""

import pytest

from nunet_node.jobs.job_file.description import (
    JobFile,
    engine_of,
    job_spec,
    name_of,
)
from nunet_node.jobs.job_file.plain_yaml import JobFileError
from nunet_node.jobs.job_file.values import FileInput
from nunet_node.jobs.specification import Engine, Isolation, Network, RetryCause
from nunet_node.quantities import ResourceVector
from nunet_node.wire.cid import Cid


def spec_of(**said):
    return job_spec(JobFile(**said), inputs=None, inputs_bytes=0)


def test_what_is_not_said_gets_the_published_defaults():
    spec = spec_of(program="a/main.py")

    assert spec.resources == ResourceVector(
        cpu_millis=1000, memory_bytes=256 << 20, disk_bytes=128 << 20
    )
    assert (spec.timeouts.run_s, spec.timeouts.queue_s) == (3600, 7 * 86400)
    assert (spec.retry.attempts, spec.retry.on) == (1, (RetryCause.LOST,))
    assert spec.price_micro_ntx_max is None


@pytest.mark.parametrize(
    ("said", "engine", "words"),
    [
        ({"program": "x/a.py", "args": ("1",)}, Engine.PYTHON, ("a.py", "1")),
        ({"program": "x/a.wasm"}, Engine.WASM, ("a.wasm",)),
        ({"command": ("echo", "hi")}, Engine.PROCESS, ("echo", "hi")),
        (
            {"program": "x/a.py", "engine": Engine.PROCESS},
            Engine.PROCESS,
            ("python3", "a.py"),
        ),
        ({"program": "a.sh", "engine": Engine.PROCESS}, Engine.PROCESS, ("sh", "a.sh")),
        ({"program": "tool", "engine": Engine.PROCESS}, Engine.PROCESS, ("./tool",)),
        ({"command": ("m.py",), "engine": Engine.PYTHON}, Engine.PYTHON, ("m.py",)),
    ],
)
def test_the_program_says_how_it_runs_unless_an_engine_is_named(said, engine, words):
    spec = spec_of(**said)

    assert (spec.engine, spec.command) == (engine, words)


def test_a_program_of_no_known_kind_needs_an_engine():
    with pytest.raises(JobFileError, match="name its engine"):
        engine_of(JobFile(program="a.rb"))


def test_nothing_to_run_is_refused():
    with pytest.raises(JobFileError, match="nothing to run"):
        spec_of()


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"name": "n", "program": "a.py"}, "n"),
        ({"program": "d/co2 summary.py"}, "co2-summary"),
        ({"command": ("/bin/echo", "x")}, "echo"),
        ({"command": ("...",)}, "job"),
        ({"command": ("x" * 100,)}, "x" * 64),
    ],
)
def test_a_job_without_a_name_is_called_after_what_it_runs(said, name):
    assert name_of(JobFile(**said)) == name


def test_options_override_a_file_and_add_inputs_and_environment():
    file = JobFile(
        program="a.py",
        memory_bytes=1,
        inputs=(FileInput(path="a", dest="a"),),
        env={"A": "1", "B": "2"},
        outputs=("x",),
    )
    options = JobFile(
        memory_bytes=2, inputs=(FileInput(path="b", dest="b"),), env={"B": "3"}
    )

    both = file.overridden_by(options)

    assert both.memory_bytes == 2
    assert [each.dest for each in both.inputs] == ["a", "b"]
    assert both.env == {"A": "1", "B": "3"}
    assert (both.program, both.outputs) == ("a.py", ("x",))


def test_an_option_of_zero_overrides():
    file = JobFile(disk_bytes=5, price_micro_ntx_max=5)

    both = file.overridden_by(JobFile(disk_bytes=0, price_micro_ntx_max=0))

    assert (both.disk_bytes, both.price_micro_ntx_max) == (0, 0)


def test_paths_are_taken_from_the_directory_of_the_file():
    file = JobFile(
        program="a.py",
        inputs=(FileInput(path="d", dest="d"), FileInput(path="/abs", dest="abs")),
    )

    assert [each.path for each in file.beside("/jobs").all_inputs()] == [
        "/jobs/a.py",
        "/jobs/d",
        "/abs",
    ]


def test_the_program_is_an_input_once():
    program = FileInput(path="x/a.py", dest="a.py")

    assert JobFile(program="x/a.py", inputs=(program,)).all_inputs() == (program,)


def test_the_stored_inputs_are_part_of_the_specification():
    root = Cid.of_raw(b"tree")

    spec = job_spec(JobFile(program="a.py"), inputs=root, inputs_bytes=4)

    assert (spec.inputs, spec.inputs_bytes) == (root, 4)


def test_the_order_of_variables_does_not_change_the_specification():
    one = spec_of(program="a.py", env={"A": "1", "B": "2"})
    other = spec_of(program="a.py", env={"B": "2", "A": "1"})

    assert list(one.env) == list(other.env)


def test_a_word_that_no_command_can_carry_is_refused():
    with pytest.raises(JobFileError, match="out of bounds"):
        spec_of(command=("echo", "a\0b"))


def test_a_demanded_level_and_no_network_are_in_the_specification():
    spec = spec_of(command=("true",), isolation=Isolation.PROCESS, network=Network())
    assert (spec.isolation, spec.network) == (Isolation.PROCESS, Network())
    assert spec_of(command=("true",)).isolation is None


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ({"command": ("true",)}, Isolation.WASM),
        ({"command": ("true",)}, Isolation.CONTAINER),
        ({"program": "a.py"}, Isolation.PROCESS),
    ],
)
def test_a_level_that_its_engine_never_has_is_refused_at_once(said, level):
    with pytest.raises(JobFileError, match=f"isolation {level} is demanded"):
        spec_of(**said, isolation=level)


@pytest.mark.parametrize(
    "name", ["a-1.0-py3-none-any.whl", "a-1.0-1-py2.py3-none-any.whl", "a.tar"]
)
def test_a_script_may_bring_what_it_can_import(name):
    wheel = FileInput(path=f"w/{name}", dest=name)
    file = JobFile(program="a.py", inputs=(wheel,))
    assert job_spec(file, inputs=None, inputs_bytes=0).engine is Engine.PYTHON


@pytest.mark.parametrize(
    "name", ["a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "a-1.0-py3-none-win32.whl"]
)
def test_a_wheel_with_compiled_code_is_refused_with_the_remedy(name):
    wheel = FileInput(path=f"w/{name}", dest=name)
    with pytest.raises(JobFileError, match=r"none-any\.whl, or write 'engine: process"):
        job_spec(JobFile(program="a.py", inputs=(wheel,)), inputs=None, inputs_bytes=0)
    native = JobFile(program="a.py", engine=Engine.PROCESS, inputs=(wheel,))
    job_spec(native, inputs=None, inputs_bytes=0)


@pytest.mark.parametrize("name", ["\uf900", "a b", "1A", "", "NUNET_JOB_ID"])
def test_a_variable_that_no_job_could_have_is_refused_from_a_program_too(name):
    with pytest.raises(JobFileError):
        job_spec(JobFile(command=("x",), env={name: ""}), inputs=None, inputs_bytes=0)
