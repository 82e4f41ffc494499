import pytest

from nunet_node.executors.sandbox import seccomp

if seccomp.runner_filter() == b"":
    pytest.skip("pyseccomp or libseccomp is missing", allow_module_level=True)


def test_a_filter_is_whole_instructions():
    for program in (
        seccomp.runner_filter(),
        seccomp.native_filter(hidden_memory=True),
        seccomp.native_filter(hidden_memory=False),
    ):
        assert program
        assert len(program) % 8 == 0


def test_memory_that_cannot_be_measured_is_denied_only_where_it_must():
    loose = seccomp.native_filter(hidden_memory=True)
    strict = seccomp.native_filter(hidden_memory=False)
    assert loose != strict


def test_a_filter_is_the_same_each_time():
    seccomp.runner_filter.cache_clear()
    once = seccomp.runner_filter()
    seccomp.runner_filter.cache_clear()
    assert seccomp.runner_filter() == once
