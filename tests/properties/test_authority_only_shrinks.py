"""A chain allows exactly what each of its links allows, and nobody gains by length.

The law is stated a second time here, plainly and without regard to cost, and both
statements have to agree on whatever chain and whatever act is drawn.
"""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nunet_node.capability.command import Command
from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.errors import CapabilityError
from nunet_node.capability.held.explaining import explain
from nunet_node.capability.held.holdings import Holdings
from nunet_node.capability.proof_chain import Act, check_chain
from nunet_node.identity.keys import SigningKey

PEOPLE = [SigningKey(bytes([n + 1]) * 32) for n in range(4)]
OWNER = PEOPLE[0]
COMMANDS = ["/", "/nunet", "/nunet/job", "/nunet/job/submit", "/nunet/jobs"]
NOW_S = 100

people = st.integers(0, len(PEOPLE) - 1)
links = st.fixed_dictionaries(
    {
        "giver": people,
        "taker": people,
        "subject": st.sampled_from([0, 0, 0, 1, None]),
        "command": st.sampled_from(COMMANDS),
        "limit": st.sampled_from([None, 3, 7]),
        "begins": st.sampled_from([None, 50, 150]),
        "ends": st.sampled_from([99, 100, 1000]),
    }
)
joined = st.lists(links, min_size=1, max_size=4).map(
    lambda drawn: [
        {**each, "giver": before["taker"]} if before else {**each, "giver": 0}
        for before, each in zip([None, *drawn], drawn, strict=False)
    ]
)
chains = st.one_of(st.lists(links, max_size=4), joined)
acts = st.fixed_dictionaries(
    {
        "invoker": people,
        "command": st.sampled_from([c for c in COMMANDS if c != "/"]),
        "amount": st.integers(0, 9),
    }
)


def made(link, number):
    policy = [] if link["limit"] is None else [["<=", ".amount", link["limit"]]]
    subject = link["subject"]
    data = seal_delegation(
        signer=PEOPLE[link["giver"]],
        audience=PEOPLE[link["taker"]].did,
        subject=None if subject is None else PEOPLE[subject].did,
        command=link["command"],
        nonce=number.to_bytes(12, "big"),
        expires_at_s=link["ends"],
        not_before_s=link["begins"],
        policy=policy,
    )
    return open_delegation(data)


def covers(granted, used):
    return granted == "/" or (used + "/").startswith(granted + "/")


def lawful(chain, act):
    """Tell whether a chain allows an act, in the words of the specification."""
    if not chain:
        return act["invoker"] == 0
    return (
        chain[0]["giver"] == chain[0]["subject"] == 0
        and chain[-1]["taker"] == act["invoker"]
        and all(one["taker"] == next_["giver"] for one, next_ in pairwise(chain))
        and all(covers(o["command"], n["command"]) for o, n in pairwise(chain))
        and all(link["subject"] in (0, None) for link in chain)
        and all(covers(link["command"], act["command"]) for link in chain)
        and all(
            link["limit"] is None or act["amount"] <= link["limit"] for link in chain
        )
        and all((link["begins"] or 0) <= NOW_S <= link["ends"] for link in chain)
    )


def of(act):
    return Act(
        invoker=PEOPLE[act["invoker"]].did,
        subject=OWNER.did,
        command=Command(act["command"]),
        args={"amount": act["amount"]},
    )


def allows(chain, act, **more):
    try:
        check_chain(chain, of(act), now_s=NOW_S, **more)
    except CapabilityError:
        return False
    return True


@given(chains, acts)
def test_a_chain_allows_what_every_link_allows_and_nothing_else(chain, act):
    opened = [made(link, number) for number, link in enumerate(chain)]
    assert allows(opened, act) == lawful(chain, act)


@given(joined, acts)
def test_a_longer_chain_never_allows_more(chain, act):
    opened = [made(link, number) for number, link in enumerate(chain)]
    if allows(opened, act):
        for length in range(1, len(opened)):
            taker = chain[length - 1]["taker"]
            assert allows(opened[:length], {**act, "invoker": taker})


@given(joined, acts, st.data())
def test_one_revoked_link_ends_the_chain(chain, act, data):
    opened = [made(link, number) for number, link in enumerate(chain)]
    void = data.draw(st.sampled_from(opened)).cid
    assert not allows(opened, act, revoked={void})


@given(chains, acts)
def test_what_is_explained_as_sound_is_sound(chain, act):
    opened = [made(link, number) for number, link in enumerate(chain)]
    stories = explain([link.data for link in opened], now_s=NOW_S, act=of(act))
    if chain:
        assert all(not story.faults for story in stories) == lawful(chain, act)


@given(chains, acts)
def test_a_chain_is_found_if_the_links_at_hand_hold_one(chain, act):
    opened = [made(link, number) for number, link in enumerate(chain)]
    found = Holdings(opened).chain(of(act), NOW_S)
    if found is not None:
        assert allows(found, act)
    elif chain:
        assert not lawful(chain, act)
