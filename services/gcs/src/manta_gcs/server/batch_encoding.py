"""A batch message from items that are encoded already, so that what goes to many streams is encoded once."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message
from manta_common.varint import varint

_LENGTH_DELIMITED = 2


class BatchEncoding:
    """For a message with a repeated field of messages. cost of join: O(items) and one copy of their bytes.

    source: the wire format of protocol buffers, in which the encodings of a message's fields follow one another.
    """

    def __init__(self, head: Message, field: str) -> None:
        """head: the batch without items. raises: KeyError when it has no field of that name."""
        number = head.DESCRIPTOR.fields_by_name[field].number
        self._head = head.SerializeToString()
        self._tag = varint(number << 3 | _LENGTH_DELIMITED)

    def join(self, items: Iterable[bytes]) -> bytes:
        parts = [self._head]
        for item in items:
            parts += (self._tag, varint(len(item)), item)
        return b"".join(parts)
