"""Content ids have one text and one binary form."""

import copy

import pytest

from nunet_node.errors import MisuseError
from nunet_node.wire.cid import DAG_CBOR, RAW, Cid
from nunet_node.wire.errors import CidError

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
"""The id of no bytes at all, as every IPFS tool prints it."""

EMPTY_MAP = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
"""The id of an empty DAG-CBOR map (the ipld codec fixtures)."""


def test_known_bytes_have_the_known_ids():
    assert str(Cid.of_raw(b"")) == EMPTY_RAW
    assert str(Cid.of_dag_cbor(b"\xa0")) == EMPTY_MAP


def test_text_and_bytes_lead_back_to_the_id():
    cid = Cid.of_dag_cbor(b"\xa0")
    assert Cid.parse(str(cid)) == cid
    assert Cid.from_bytes(cid.to_bytes()) == cid
    assert (cid.codec, len(cid.digest), len(cid.to_bytes())) == (DAG_CBOR, 32, 36)


def test_ids_are_values():
    one, same, other = Cid.of_raw(b"1"), Cid.of_raw(b"1"), Cid.of_dag_cbor(b"1")
    assert one == same
    assert {one, same, other} == {one, other}
    assert one < other
    assert one >= same
    assert one != one.to_bytes()
    assert copy.deepcopy(one) == one
    assert repr(one) == f"Cid({one})"


def test_an_id_cannot_be_changed():
    cid = Cid.of_raw(b"")
    with pytest.raises(AttributeError):
        cid.codec = DAG_CBOR
    with pytest.raises(AttributeError):
        cid._bytes = b""


def test_an_id_tells_its_bytes_from_others():
    assert Cid.of_raw(b"x").matches(b"x")
    assert Cid.of_raw(b"x").matches(memoryview(b"x"))
    assert not Cid.of_raw(b"x").matches(b"y")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        EMPTY_RAW.upper(),
        EMPTY_RAW + "\n",
        " " + EMPTY_RAW,
        EMPTY_RAW + "=",
        EMPTY_RAW[:-1],
        EMPTY_RAW[:-1] + "v",
        "z" + EMPTY_RAW[1:],
        "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
        "zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA",
        "bafkqaaa",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
    ],
)
def test_another_text_is_refused(text):
    with pytest.raises(CidError):
        Cid.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01551220" + "00" * 31,
        "01551220" + "00" * 33,
        "00551220" + "00" * 32,
        "01701220" + "00" * 32,
        "01551114" + "00" * 20,
        "01550004" + "00" * 4,
        "01551214" + "00" * 20,
        "0155b22020" + "00" * 32,
        "1220" + "00" * 32,
        "81005512" + "20" + "00" * 31,
    ],
)
def test_other_bytes_are_refused(text):
    with pytest.raises(CidError):
        Cid.from_bytes(bytes.fromhex(text))


@pytest.mark.parametrize(("codec", "length"), [(RAW, 31), (0x70, 32)])
def test_an_impossible_id_is_a_bug_of_ours(codec, length):
    with pytest.raises(MisuseError):
        Cid(codec, bytes(length))
