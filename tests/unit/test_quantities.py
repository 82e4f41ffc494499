"""People write amounts in many ways; the node keeps exact integers."""

import pytest

from nunet_node.quantities import (
    INT53_MAX,
    QuantityError,
    ResourceVector,
    cpu_text,
    duration_text,
    parse_cpu_millis,
    parse_duration_s,
    parse_price_micro_ntx,
    parse_size_bytes,
    price_text,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512MiB", 512 * 2**20),
        ("2G", 2 * 2**30),
        ("2GB", 2 * 10**9),
        ("1.5KiB", 1536),
        ("1048576", 2**20),
        (7, 7),
        (" 3 k ", 3072),
    ],
)
def test_a_size_is_read_exactly(text, size_bytes):
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "-1", "1.0001KiB", "1 EiB", "nan", "1e3", True, "9" * 16, "10PB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(QuantityError):
        parse_size_bytes(text)


def test_a_size_beyond_exact_integers_is_refused():
    assert parse_size_bytes(INT53_MAX) == INT53_MAX
    with pytest.raises(QuantityError):
        parse_size_bytes(INT53_MAX + 1)


@pytest.mark.parametrize(
    ("text", "duration_s"), [("15s", 15), ("1.5h", 5400), ("7d", 604800), (3, 3)]
)
def test_a_duration_is_read_exactly(text, duration_s):
    assert parse_duration_s(text) == duration_s


def test_a_duration_finer_than_a_second_is_refused():
    with pytest.raises(QuantityError):
        parse_duration_s("0.5s")


@pytest.mark.parametrize(
    ("text", "cpu_millis"), [("2", 2000), (0.5, 500), ("0.001", 1), (1, 1000)]
)
def test_processors_are_read_in_thousandths(text, cpu_millis):
    assert parse_cpu_millis(text) == cpu_millis


@pytest.mark.parametrize("text", ["0.0001", "-1", "inf", "nan", "two", ""])
def test_what_is_no_number_of_processors_is_refused(text):
    with pytest.raises(QuantityError):
        parse_cpu_millis(text)


def test_amounts_are_written_as_people_read_them():
    assert [size_text(n) for n in (0, 1023, 1536, 3 * 2**30)] == [
        "0B",
        "1023B",
        "1.5KiB",
        "3GiB",
    ]
    assert [cpu_text(n) for n in (10000, 1500, 1)] == ["10", "1.5", "0.001"]
    durations = {0: "0s", 90: "90s", 600: "10m", 7_200: "2h", 604_800: "7d"}
    assert {n: duration_text(n) for n in durations} == durations


def test_a_vector_fits_only_where_every_dimension_does():
    room = ResourceVector(cpu_millis=2000, memory_bytes=100, disk_bytes=10)
    assert room.fits(room)
    assert ResourceVector(memory_bytes=101).shortfall(room) == "memory_bytes"
    assert ResourceVector(cpu_millis=2001, memory_bytes=101).shortfall(room) == (
        "cpu_millis"
    )


def test_taking_more_than_there_is_leaves_nothing_and_no_debt():
    room = ResourceVector(cpu_millis=1, memory_bytes=5)
    need = ResourceVector(cpu_millis=2, memory_bytes=3)
    assert room.less(need) == ResourceVector(memory_bytes=2)
    assert (room + need).less(need) == room


@pytest.mark.parametrize(
    ("text", "price_micro_ntx"),
    [("3", 3_000_000), ("0.25", 250_000), (0.5, 500_000), ("0.000001", 1), (0, 0)],
)
def test_a_price_is_exact_to_a_millionth_and_is_written_as_it_was_read(
    text, price_micro_ntx
):
    assert parse_price_micro_ntx(text) == price_micro_ntx
    assert price_text(price_micro_ntx) == str(text)


@pytest.mark.parametrize("text", ["", "free", "-1", "0.0000001", "1e30", "nan", "inf"])
def test_what_is_no_amount_of_money_is_refused(text):
    with pytest.raises(QuantityError):
        parse_price_micro_ntx(text)
