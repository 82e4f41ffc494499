"""Several are asked, and no one of them holds the others up."""

import trio

from nunet_node.client.errors import ClientError
from nunet_node.client.fetching.copies import HURRY_S, ask_in_turn


class _Asked:
    """Answers after so many seconds each, or refuses."""

    def __init__(self, **seconds):
        self.seconds = seconds
        self.order = []

    async def __call__(self, name):
        self.order.append(name)
        after_s = self.seconds[name]
        if after_s is None:
            raise ClientError("no")
        await trio.sleep(after_s)
        return name


async def test_the_next_is_asked_once_one_has_refused(autojump_clock):
    asked = _Asked(a=None, b=0, c=0)
    assert await ask_in_turn("abc", asked, answers_max=1) == ["b"]
    assert asked.order == ["a", "b"]


async def test_one_that_is_silent_is_waited_for_only_a_while(autojump_clock):
    asked = _Asked(a=100, b=None, c=1)
    began = trio.current_time()
    assert await ask_in_turn("abc", asked, answers_max=1) == ["c"]
    assert trio.current_time() - began == HURRY_S + 1


async def test_a_late_answer_is_as_good_as_an_early_one(autojump_clock):
    asked = _Asked(a=HURRY_S + 1, b=100)
    assert await ask_in_turn("ab", asked, answers_max=1) == ["a"]


async def test_all_answers_are_waited_for_if_none_is_one_too_many(autojump_clock):
    asked = _Asked(a=5, b=None, c=4)
    assert await ask_in_turn("abc", asked, answers_max=3) == ["a", "c"]


async def test_what_was_answered_in_time_counts_when_the_rest_is_silent(
    autojump_clock,
):
    asked = _Asked(a=1, b=1000)
    found = await ask_in_turn("ab", asked, answers_max=2, within_s=10)
    assert found == ["a"]


async def test_whoever_signs_by_hand_is_asked_for_one_signature_at_a_time(
    autojump_clock,
):
    asked = _Asked(a=1000, b=0)
    await ask_in_turn("ab", asked, answers_max=1, hurry_s=float("inf"))
    assert asked.order == ["a"]


async def test_if_nobody_answers_there_is_nothing(autojump_clock):
    assert await ask_in_turn("ab", _Asked(a=None, b=None), answers_max=1) == []
    assert await ask_in_turn("", _Asked(), answers_max=1) == []
