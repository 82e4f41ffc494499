"""Nobody has to read what a node prints, and whoever does learns what is missing."""

import contextlib
import json
import os
import sys

from nunet_node.cli.machine.feed import LINES_MAX, Feed, unhindered

LINE = "x" * 99 + "\n"
PIPE_LINES_MAX = 4096
"""More lines than a pipe of any usual size takes."""


def said(count):
    return f"{count} missing"


def feeding(stack):
    """Return the reading end of a pipe, and the feed of the other."""
    reader, writer = os.pipe()
    stack.callback(os.close, writer)
    feed = Feed(writer, said)
    # What it still wants to write fails once the reader is gone; closed before that,
    # the descriptor could be another pipe's by then.
    stack.callback(feed._writer.join)
    ended = stack.enter_context(os.fdopen(reader, "rb"))
    stack.callback(lambda: feed._ending or feed.finish())
    return ended, feed


def test_lines_come_out_in_order_and_all_of_them_before_the_end():
    with contextlib.ExitStack() as stack:
        reader, feed = feeding(stack)
        for number in range(100):
            feed.write(f"{number}\n")
        feed.finish()

        assert [int(reader.readline()) for _ in range(100)] == list(range(100))


def test_a_pipe_that_nobody_reads_holds_nothing_up_and_the_gap_is_counted():
    with contextlib.ExitStack() as stack:
        reader, feed = feeding(stack)
        count = LINES_MAX + PIPE_LINES_MAX
        for _ in range(count):
            feed.write(LINE)
        # The reader comes back, but only once it has seen the whole backlog is there
        # certainly room again.
        lines = [reader.readline().decode() for _ in range(LINES_MAX)]
        feed.write("after\n")
        while lines[-1] != "after\n":
            lines.append(reader.readline().decode())

        # There may be several gaps: the pipe itself took lines meanwhile.
        missing = [line.split()[0] for line in lines if line.endswith(" missing\n")]
        assert lines.count(LINE) + sum(map(int, missing)) == count
        assert len(lines) == lines.count(LINE) + len(missing) + 1


def test_the_end_of_the_process_does_not_wait_for_a_reader_that_is_gone_for_good():
    with contextlib.ExitStack() as stack:
        reader, feed = feeding(stack)
        for _ in range(LINES_MAX):
            feed.write(LINE)
        feed.finish()

        assert reader.readline().decode() == LINE
        reader.read1()


def test_a_closed_pipe_ends_the_saying_and_nothing_else():
    reader, writer = os.pipe()
    os.close(reader)
    feed = Feed(writer, said)
    for _ in range(3):
        feed.write(LINE)
    feed.finish()
    feed._writer.join()
    assert feed.write(LINE) == len(LINE)
    os.close(writer)


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing():
    with contextlib.ExitStack() as stack:
        reader, feed = feeding(stack)
        os.set_blocking(feed.fileno(), False)
        for _ in range(2000):
            feed.write(LINE)

        assert all(reader.readline().decode() == LINE for _ in range(2000))
        feed.finish()


def test_what_is_printed_meanwhile_goes_through_feeds_and_the_gap_is_json(capfd):
    with unhindered(as_json=True):
        assert isinstance(sys.stdout, Feed)
        assert isinstance(sys.stderr, Feed)
        sys.stdout._dropped = 2
        sys.stdout.write('{"event":"ready"}\n')
        sys.stderr.write("hello\n")

    out, err = capfd.readouterr()
    assert [json.loads(line)["event"] for line in out.splitlines()] == [
        "dropped",
        "ready",
    ]
    assert err == "hello\n"
    assert not isinstance(sys.stdout, Feed)


def test_streams_that_are_no_files_are_left_alone(capsys):
    with unhindered(as_json=False):
        sys.stdout.write("kept\n")

    assert capsys.readouterr().out == "kept\n"
