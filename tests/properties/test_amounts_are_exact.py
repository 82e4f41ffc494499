"""What people write is read exactly, and what is shown to them reads back the same."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nunet_node.quantities import (
    INT53_MAX,
    QuantityError,
    ResourceVector,
    cpu_text,
    parse_cpu_millis,
    parse_duration_s,
    parse_price_micro_ntx,
    parse_size_bytes,
    price_text,
    size_text,
)

EXACT = settings(derandomize=True, deadline=None)
AMOUNT = st.integers(min_value=0, max_value=INT53_MAX)
VECTOR = st.builds(
    ResourceVector,
    cpu_millis=st.integers(0, 10**6),
    memory_bytes=st.integers(0, 10**6),
    disk_bytes=st.integers(0, 10**6),
)
BINARY = {"": 0, "K": 10, "MiB": 20, "g": 30, "TiB": 40}


@EXACT
@given(st.integers(0, 8000), st.sampled_from(sorted(BINARY)))
def test_a_size_in_whole_units_is_that_many_bytes(number, unit):
    assert parse_size_bytes(f"{number}{unit}") == number << BINARY[unit]


@EXACT
@given(AMOUNT)
def test_plain_numbers_are_read_as_they_stand(number):
    assert parse_size_bytes(number) == number
    assert parse_duration_s(str(number)) == number


@EXACT
@given(AMOUNT)
def test_a_size_as_shown_is_the_size_cut_off_after_a_tenth(size_bytes):
    shown = size_text(size_bytes)
    unit = shown.lstrip("0123456789.")
    scale = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[unit]
    number = Decimal(shown.removesuffix(unit))
    assert 0 <= Decimal(size_bytes) / scale - number < Decimal("0.1")
    if size_bytes % scale == 0 and size_bytes // scale < 10**9:
        assert parse_size_bytes(shown) == size_bytes


@EXACT
@given(AMOUNT)
def test_processors_and_prices_read_back_as_they_are_shown(number):
    assert parse_cpu_millis(cpu_text(number)) == number
    assert parse_price_micro_ntx(price_text(number)) == number


@EXACT
@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_a_clear_refusal(text):
    for parse in (
        parse_size_bytes,
        parse_duration_s,
        parse_cpu_millis,
        parse_price_micro_ntx,
    ):
        with suppress(QuantityError):
            assert 0 <= parse(text) <= INT53_MAX


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1",
        "Infinity",
        "nan",
        "1e-9",
        "9" * 400,
        "0x1",
        "1_0_",
        "1e3",
        "\uff11",
    ],
)
def test_numbers_in_disguise_are_refused(text):
    for parse in (parse_cpu_millis, parse_price_micro_ntx):
        with pytest.raises(QuantityError):
            parse(text)


def test_a_number_that_prints_in_powers_of_ten_is_read_as_what_it_is():
    assert parse_price_micro_ntx(0.00001) == 10
    assert parse_cpu_millis(0.1) == 100
    assert parse_cpu_millis(2.0) == 2000


@EXACT
@given(VECTOR, VECTOR, VECTOR)
def test_amounts_add_up_in_any_order(a, b, c):
    assert (a + b) + c == a + (b + c) == c + (b + a)


@EXACT
@given(VECTOR, VECTOR)
def test_what_fits_leaves_exactly_the_rest(need, offered):
    rest = offered.less(need)
    if need.fits(offered):
        assert rest + need == offered
        assert need.shortfall(offered) is None
    else:
        name = need.shortfall(offered)
        assert getattr(need, name) > getattr(offered, name)
        assert getattr(rest, name) == 0
