import os
from pathlib import Path

import pytest
import trio

from nunet_node.executors.jobdir import ScratchError
from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.port import ENGINES
from tests.executors_kit import (
    MIB,
    an_order,
    attempt,
    cache_folder,
    need,
    python_job,
    shell_job,
    some_executors,
)


async def test_every_engine_is_probed_and_none_raises():
    async with some_executors() as executors:
        found = await executors.probe()
    assert [capability.engine for capability in found] == list(ENGINES)
    assert all(capability.ready or capability.remedy for capability in found)


async def test_an_engine_that_fails_to_start_a_job_is_tried_again_and_withdrawn():
    await need("process")
    async with some_executors() as executors:
        broken = executors._scratch / "broken-bwrap"
        broken.write_text("#!/bin/sh\necho setting up uid map: denied >&2\nexit 1\n")
        broken.chmod(0o755)
        assert (await executors.probe())[2].ready
        (whole, executors._bwrap) = (executors._bwrap, broken)
        job_dir = await executors.open_job("job", 1)
        end = await executors.run(an_order("process", "true"), job_dir)
        await executors.remove(job_dir)
        assert (end.exit_code, executors.in_doubt) == (None, True)
        withdrawn = (await executors.probe())[2]
        executors._bwrap = whole
        again = (await executors.probe())[2]
    assert (withdrawn.ready, again.ready) == (False, True)
    assert "setting up uid map: denied" in withdrawn.detail
    assert not executors.in_doubt


async def test_an_engine_doubted_while_another_is_tried_is_tried_next(monkeypatch):
    await need("process")
    async with some_executors() as executors:
        await executors.probe()
        executors._held.pop("wasm", None)
        examine = executors._probe_one

        async def doubting(engine, *, thorough):
            executors.in_doubt |= executors._held.pop("process", None) is not None
            return await examine(engine, thorough=thorough)

        monkeypatch.setattr(executors, "_probe_one", doubting)
        found = await executors.probe()
    assert [each.engine for each in found] == list(ENGINES)
    assert executors.in_doubt
    assert "process" not in executors._held


async def test_what_a_killed_node_left_in_its_engine_is_removed_once(monkeypatch):
    await need("container")
    async with some_executors() as executors:
        sweep, swept = executors._containers.sweep, []

        async def counted(scratch):
            swept.append(scratch)
            await sweep(scratch)

        monkeypatch.setattr(executors._containers, "sweep", counted)
        executors._prepared = True
        for _ in range(2):
            executors._held.pop("container", None)
            await executors.probe()
    assert len(swept) == 1


async def test_a_missing_command_is_no_fault_of_its_engine():
    await need("process")
    async with some_executors() as executors:
        await executors.probe()
        job_dir = await executors.open_job("job", 1)
        end = await executors.run(an_order("process", "nothing-there"), job_dir)
        await executors.remove(job_dir)
    assert (end.exit_code, executors.in_doubt) == (127, False)


async def test_python_that_is_not_compiled_is_not_offered():
    async with some_executors() as there:
        executors = LocalExecutors(there._scratch, there._scratch.parent / "empty")
        python = (await executors.probe())[1]
    assert not python.ready
    assert "not compiled" in python.detail or "not installed" in python.detail


async def test_a_cache_that_others_can_read_is_refused(tmp_path: Path):
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o755)
    with pytest.raises(ScratchError, match="0700"):
        LocalExecutors(tmp_path / "scratch", cache)


async def test_a_scratch_that_others_can_write_is_refused(tmp_path: Path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o777)
    with pytest.raises(ScratchError, match="writable"):
        LocalExecutors(scratch, cache_folder())


async def test_a_script_runs_with_its_arguments_and_inputs():
    ran = await attempt(
        an_order("python", "src/main.py", "one", "two"),
        {
            "src/main.py": b"import sys, sibling\n"
            b"print(sys.argv, sibling.NAME, open('data.csv').read())\n",
            "src/sibling.py": b"NAME = 'beside'\n",
            "data.csv": b"1,2",
        },
    )
    assert ran.stderr == b""
    assert ran.stdout == b"['src/main.py', 'one', 'two'] beside 1,2\n"
    assert ran.end.exit_code == 0
    assert ran.end.limit is None
    assert ran.starts == 1


async def test_a_script_writes_outputs_relative_to_where_it_starts():
    ran = await python_job(
        "import os\nos.makedirs('out/deep')\n"
        "open('out/deep/a.txt', 'w').write('hi')\n"
        "open('/job/b.txt', 'w').write('there')\n"
    )
    assert ran.paths == ["b.txt", "out/deep/a.txt"]


async def test_an_uncaught_exception_is_exit_code_1_with_a_traceback():
    ran = await python_job("1 / 0")
    assert ran.end.exit_code == 1
    assert ran.end.limit is None
    assert b"ZeroDivisionError" in ran.stderr


@pytest.mark.parametrize("code", [0, 3, 125])
async def test_a_script_chooses_its_exit_code(code: int):
    assert (await python_job(f"raise SystemExit({code})")).end.exit_code == code


async def test_what_a_script_prints_is_seen_while_it_runs():
    await need("python")
    async with some_executors() as executors:
        job_dir = await executors.open_job("job", 1)
        # It ends only when it finds the file that is made once its print was seen.
        job_dir.add_file(
            "main.py",
            b"import os, time\nprint('ready')\n"
            b"while not os.path.exists('go'): time.sleep(0.01)\n",
        )

        def answer(_stream: str, chunk: bytes) -> None:
            if b"ready" in chunk:
                (job_dir.path / "go").touch()

        end = await executors.run(an_order("python", "main.py"), job_dir, None, answer)
        await executors.remove(job_dir)
    assert end.exit_code == 0


async def test_a_job_sees_no_variable_of_the_host(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    script = "import os\nprint(sorted(os.environ))"
    ran = await python_job(script, env=(("MINE", "yes"),))
    expected = ["HOME", "LANG", "MINE", "NUNET_JOB_ENGINE", "NUNET_JOB_ID"]
    assert ran.stdout.decode().strip() == str([*expected, "PATH", "TMPDIR"])


async def test_a_native_job_sees_no_variable_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    ran = await attempt(an_order("process", "env", env=(("MINE", "yes"),)))
    names = {line.split("=")[0] for line in ran.stdout.decode().splitlines()}
    assert names == {
        *("HOME", "LANG", "MINE", "NUNET_JOB_ENGINE", "NUNET_JOB_ID"),
        *("PATH", "TMPDIR", "PWD"),
    }


async def test_a_native_command_finds_the_tools_of_the_host():
    ran = await shell_job(
        "echo in | cat; echo err >&2; python3 -c 'print(6*7)'; exit 9"
    )
    assert ran.stdout == b"in\n42\n"
    assert ran.stderr == b"err\n"
    assert ran.end.exit_code == 9
    assert ran.starts == 1


async def test_an_input_program_can_be_the_command():
    files = {"bin/tool": b"#!/bin/sh\necho tool $1"}
    ran = await attempt(an_order("process", "bin/tool", "x"), files)
    assert ran.stdout == b"tool x\n"


async def test_a_missing_command_is_exit_code_127_with_a_reason():
    ran = await attempt(an_order("process", "no-such-command"))
    assert ran.end.exit_code == 127
    assert "could not be started" in (ran.end.reason or "")


async def test_a_signal_is_exit_code_128_and_its_number():
    assert (await shell_job("kill -TERM $$")).end.exit_code == 143


async def test_a_broken_pipe_ends_a_native_program_as_usual():
    ran = await shell_job("yes | head -n 1; echo done")
    assert ran.stdout == b"y\ndone\n"
    assert ran.stderr == b""


async def test_a_module_that_is_none_is_not_started():
    ran = await attempt(an_order("wasm", "m.wasm"), {"m.wasm": b"not a module"})
    assert ran.end.exit_code is None
    assert "compiling failed" in (ran.end.reason or "")


async def test_a_missing_script_is_said_on_the_error_stream():
    ran = await attempt(an_order("python", "absent.py"))
    assert ran.end.exit_code == 2
    assert b"absent.py" in ran.stderr


async def test_usage_is_measured_and_fuel_counts_instructions():
    ran = await python_job("sum(range(100_000))")
    assert ran.end.usage.cpu_ms > 0
    assert ran.end.usage.fuel > 1_000_000
    assert ran.end.usage.memory_peak_bytes > 10 * MIB


async def test_temporary_files_work_and_are_not_collected():
    ran = await python_job(
        "import tempfile\nwith tempfile.NamedTemporaryFile('w') as f: f.write('x')\n"
        "open('/tmp/kept', 'w').write('x')"
    )
    assert ran.stderr == b""
    assert ran.paths == []


async def test_several_jobs_run_side_by_side():
    await need("process")
    codes: list[int | None] = []

    async def one(code: int) -> None:
        codes.append((await shell_job(f"exit {code}")).end.exit_code)

    async with trio.open_nursery() as nursery:
        for code in range(4):
            nursery.start_soon(one, code)
    assert sorted(code for code in codes if code is not None) == [0, 1, 2, 3]


async def test_nothing_is_left_after_a_job_is_removed():
    await need("process")
    async with some_executors() as executors:
        job_dir = await executors.open_job("job", 1)
        script = "mkdir -p a/b; touch a/b/c; chmod 0 a/b a; ln -s /etc link"
        await executors.run(an_order("process", "sh", "-c", script), job_dir)
        await executors.remove(job_dir)
        assert not job_dir.root.exists()
        assert os.listdir("/etc")
