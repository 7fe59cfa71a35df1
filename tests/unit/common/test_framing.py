import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manta_common.channel.framing import (
    MAX_FRAME_BYTES,
    FrameDecoder,
    ProtocolError,
    encode_frame,
    encode_frames,
    frame_header,
)

FRAMES = st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=300)), max_size=12)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=150, deadline=None)
@given(FRAMES, st.lists(st.integers(0, 5000), max_size=30))
def test_frames_come_back_however_they_are_split(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    decoder = FrameDecoder()
    received = [frame for piece in pieces(encode_frames(frames), cuts) for frame in decoder.feed(piece)]
    assert received == frames
    assert decoder.pending == 0


def test_frames_come_back_byte_by_byte_from_any_buffer_type() -> None:
    data = encode_frame(7, b"payload") + encode_frame(8, b"")
    decoder = FrameDecoder()
    received = []
    for index in range(len(data)):
        received += decoder.feed(
            bytearray(data[index : index + 1]) if index % 2 else memoryview(data)[index : index + 1]
        )
    assert received == [(7, b"payload"), (8, b"")]
    assert all(type(payload) is bytes for _, payload in received)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_garbage_gives_bounded_frames_or_a_protocol_error(data: bytes, cuts: list[int]) -> None:
    decoder = FrameDecoder(limit=64)
    try:
        received = [frame for piece in pieces(data, cuts) for frame in decoder.feed(piece)]
    except ProtocolError:
        return
    assert all(len(payload) <= 62 for _, payload in received)
    assert encode_frames(received) == data[: len(data) - decoder.pending]
    assert decoder.pending <= 64 + 4


@pytest.mark.parametrize("length", [0, 1, 101, 2**32 - 1])
def test_a_length_outside_the_bounds_breaks_the_decoder_for_good(length: int) -> None:
    decoder = FrameDecoder(limit=100)
    with pytest.raises(ProtocolError, match=f"announces {length} bytes"):
        decoder.feed(struct.pack("<IH", length, 1))
    with pytest.raises(ProtocolError):
        decoder.feed(encode_frame(1, b"fine"))


def test_a_frame_at_the_limit_passes() -> None:
    assert FrameDecoder(limit=100).feed(encode_frame(1, b"x" * 98)) == [(1, b"x" * 98)]


def test_an_announced_length_takes_no_memory() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(frame_header(1, MAX_FRAME_BYTES - 2)) == []
    assert decoder.pending == 6


def test_a_large_frame_in_many_chunks_is_whole() -> None:
    payload = random.Random(1).randbytes(8 * 1024 * 1024)
    data = encode_frame(9, payload) + encode_frame(10, b"next")
    decoder = FrameDecoder()
    received = [frame for at in range(0, len(data), 65536) for frame in decoder.feed(data[at : at + 65536])]
    assert received == [(9, payload), (10, b"next")]


@pytest.mark.parametrize("kind", [-1, 65536])
def test_a_kind_that_does_not_fit_is_refused(kind: int) -> None:
    with pytest.raises(ValueError, match=f"kind {kind}"):
        encode_frame(kind, b"")


def test_a_payload_that_no_receiver_takes_is_refused_at_the_sender() -> None:
    with pytest.raises(ValueError, match="split"):
        frame_header(1, MAX_FRAME_BYTES - 1)
