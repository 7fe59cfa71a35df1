"""Messages joined from parts, and calls that would be too large for one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from manta_common.channel.framing import MAX_MESSAGE_BYTES
from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.objects.object_table import ObjectTable
from ray._runtime.process.system_config import DEFAULT
from ray._runtime.specs.definitions import LIMIT_BYTES
from ray._runtime.tasks import arguments
from ray._runtime.transport.carrier import MAX_PAYLOAD_BYTES, Peer
from ray._runtime.values import serialization, wire


def test_small_parts_are_joined_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(wire.frames(b"h", [b"1", b"22"])) == [b"h122"]
    assert list(wire.frames(b"h", [])) == [b"h"]
    monkeypatch.setattr(wire, "JOIN_BYTES", 4)
    parts = [b"11", b"22", b"3", b"44444444", b"5", b"666"]
    assert list(wire.frames(b"h", parts)) == [b"h1122", b"h3", b"h44444444", b"h5666"]


def test_what_is_joined_and_what_stands_alone_goes_over_both_carriers() -> None:
    assert wire.JOIN_BYTES < MAX_PAYLOAD_BYTES < MAX_MESSAGE_BYTES
    assert max(LIMIT_BYTES, arguments.MESSAGE_LIMIT) + 1024 < MAX_PAYLOAD_BYTES


def test_a_frame_that_no_carrier_takes_is_refused_at_once() -> None:
    peer = Peer(b"w" * 28, b"n" * 28, lambda _peer: None)
    with pytest.raises(ValueError, match=f"at most {MAX_PAYLOAD_BYTES} can be sent"):
        peer.queue(worker_pb2.TASKS, bytes(MAX_PAYLOAD_BYTES + 1))
    assert not peer.session.waiting


def test_small_values_beyond_the_limit_of_a_call_are_named_and_not_carried() -> None:
    objects = ObjectTable()
    refs = []
    for number in range(120):
        name = bytes([number]) * 28
        objects.create(name)
        objects.set_value(name, common_pb2.Value(data=bytes(100_000)))
        refs.append(SimpleNamespace(_id=name, _owner=None))
    process = cast(Any, SimpleNamespace(objects=objects, address=(b"n" * 28, b"w" * 28), tuning=DEFAULT))
    message = worker_pb2.Task()
    record = cast(Any, SimpleNamespace(name="f", message=b""))
    assert arguments.complete(process, record, message, cast(Any, refs)) is None
    assert DEFAULT.call_inline_bytes - 200_000 < len(record.message) < DEFAULT.call_inline_bytes + 20_000
    carried = [argument for argument in message.arguments if argument.HasField("value")]
    named = [argument.ref.object_id for argument in message.arguments if not argument.HasField("value")]
    assert len(carried) == 104 and named == [ref._id for ref in refs[104:]]


def test_a_call_that_names_too_many_refs_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "MESSAGE_LIMIT", 100)
    objects = ObjectTable()
    objects.create(b"a" * 28)
    objects.set_stored(b"a" * 28, 1 << 20, (b"n" * 28,))
    process = cast(Any, SimpleNamespace(objects=objects, address=(b"n" * 28, b"w" * 28), tuning=DEFAULT))
    refs = cast(Any, [SimpleNamespace(_id=b"a" * 28, _owner=None)])
    record = cast(Any, SimpleNamespace(name="f", message=b""))
    error = arguments.complete(process, record, worker_pb2.Task(), refs)
    assert error is not None and not record.message
    with pytest.raises(ValueError, match="too many refs; put them into one object"):
        raise serialization.load_proto(error)
