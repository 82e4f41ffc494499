"""What a provider lends bounds what its jobs reach, whatever anybody writes."""

import h11
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.domains import is_name, not_lent, rule_for
from nunet_node.executors.proxy.request import Refused, Wanted, wanted_by

LABELS = st.sampled_from(["a", "b", "data", "pypi", "x1"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(
    lambda labels: ".".join([*labels, "example"])
)
RULES = st.one_of(
    NAMES, NAMES.filter(lambda name: name.count(".") > 1).map("*.{}".format)
)
SETS = st.lists(RULES, max_size=4)


@given(NAMES, SETS, SETS)
def test_a_job_whose_domains_are_lent_reaches_nothing_that_is_not(name, asked, lent):
    if rule_for(name, asked) is not None and not not_lent(asked, lent):
        assert rule_for(name, lent) is not None


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
HOSTS = st.one_of(NAMES, TEXT, st.sampled_from(["127.0.0.1", "[::1]", "a.example."]))
PORTS = st.sampled_from(["", ":80", ":443", ":22", ":0", ":99999", ":x"])


@given(HOSTS, PORTS, HOSTS, PORTS, TEXT, st.booleans())
def test_a_request_leads_to_a_name_on_one_of_two_ports_or_nowhere(
    host, port, other, other_port, path, tunnel
):
    target = f"{host}{port}" if tunnel else f"http://{host}{port}/{path}"
    try:
        request = h11.Request(
            method="CONNECT" if tunnel else "GET",
            target=target,
            headers=[("Host", f"{other}{other_port}")],
        )
    except h11.ProtocolError:
        return
    wanted = wanted_by(request)
    assert isinstance(wanted, Wanted | Refused)
    if isinstance(wanted, Wanted):
        assert is_name(wanted.name)
        assert wanted.port == (443 if tunnel else 80)
        assert wanted.name == other.lower()
        assert wanted.path.startswith("/") is not tunnel
