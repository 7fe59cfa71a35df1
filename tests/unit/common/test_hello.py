import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manta_common.channel.framing import ProtocolError
from manta_common.channel.hello import (
    MAGIC,
    MAX_HELLO_BYTES,
    REFUSED,
    WELCOME,
    BadToken,
    HelloDecoder,
    HelloRefused,
    hello_bytes,
    read_answer,
)
from manta_common.credentials import Token
from manta_common.version import PROTOCOL, Version, VersionMismatch
from manta_proto.common.v1.common_pb2 import Refused, Welcome

TOKEN = Token(b"the-cluster-token")


def decode(data: bytes) -> bytes | None:
    return HelloDecoder(TOKEN).feed(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50), st.integers(1, 40))
def test_a_hello_comes_back_however_it_is_split(payload: bytes, after: bytes, step: int) -> None:
    data = hello_bytes(TOKEN, PROTOCOL, payload)
    decoder = HelloDecoder(TOKEN)
    for at in range(0, len(data) - step, step):
        assert decoder.feed(data[at : at + step]) is None
    last = (len(data) - 1) // step * step
    assert decoder.feed(data[last:] + after) == payload
    assert decoder.rest == after


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n", b"MNTB", b"\x00\x00\x00\x00"])
def test_a_wrong_magic_is_refused_at_its_first_wrong_byte(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="first bytes"):
        decode(data)


def test_a_wrong_version_is_refused_before_the_token_is_looked_at() -> None:
    data = hello_bytes(Token(b"wrong"), Version(PROTOCOL.major, PROTOCOL.minor - 2), b"")
    with pytest.raises(VersionMismatch) as refusal:
        decode(data[:10])
    assert f"{PROTOCOL.major}.{PROTOCOL.minor - 2}" in str(refusal.value) and str(PROTOCOL) in str(refusal.value)


def test_one_minor_behind_is_accepted() -> None:
    assert decode(hello_bytes(TOKEN, Version(PROTOCOL.major, PROTOCOL.minor - 1), b"hi")) == b"hi"


@pytest.mark.parametrize("token", [b"wrong", b"the-cluster-tokem", b"the-cluster-token2"])
def test_a_wrong_token_is_refused_before_the_payload_is_complete(token: bytes) -> None:
    data = hello_bytes(Token(token), PROTOCOL, b"payload")
    with pytest.raises(BadToken) as refusal:
        decode(data[: -len(b"payload")])
    assert token not in str(refusal.value).encode() and TOKEN.value not in str(refusal.value).encode()


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(BadToken):
        decode(MAGIC + struct.pack("<HHHI", *PROTOCOL, 0, 0))


def test_announced_sizes_are_bounded() -> None:
    head = MAGIC + struct.pack("<HH", *PROTOCOL)
    with pytest.raises(ProtocolError, match="token of 65535"):
        decode(head + struct.pack("<H", 65535))
    trusted = head + struct.pack("<H", len(TOKEN.value)) + TOKEN.value
    with pytest.raises(ProtocolError, match=str(MAX_HELLO_BYTES)):
        decode(trusted + struct.pack("<I", MAX_HELLO_BYTES))
    with pytest.raises(ValueError, match="shorten"):
        hello_bytes(TOKEN, PROTOCOL, b"x" * MAX_HELLO_BYTES)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120), st.booleans())
def test_garbage_is_refused_or_incomplete_but_never_accepted(data: bytes, with_magic: bool) -> None:
    try:
        assert decode((MAGIC if with_magic else b"") + data) is None
    except (ProtocolError, VersionMismatch):
        return


def test_an_answer_is_a_welcome_or_a_refusal() -> None:
    assert read_answer(WELCOME, Welcome(node_id=b"n").SerializeToString()).node_id == b"n"
    with pytest.raises(HelloRefused, match="too old"):
        read_answer(REFUSED, Refused(reason="too old").SerializeToString())
    with pytest.raises(ProtocolError, match="kind 7"):
        read_answer(7, b"")
    with pytest.raises(ProtocolError, match="parsed"):
        read_answer(WELCOME, b"\xff\xff\xff")


def test_a_refusal_survives_pickling() -> None:
    error = HelloRefused("too old")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
