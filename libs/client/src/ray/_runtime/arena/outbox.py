"""What goes to the object manager over one connection, in order; and what need not be said any more.

Destructors append, on any thread and inside any call of ours, so nothing in here takes a lock.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from manta_common.channel.framing import encode_frame
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

if TYPE_CHECKING:
    from manta_proto.common.v1.common_pb2 import WorkerAddress

    from ray._runtime.arena.extents import Part


class News(NamedTuple):
    """An object of `size` bytes was written to a part of an extent, and is pinned by its writer."""

    object_id: bytes
    part: Part
    size: int
    owner: WorkerAddress | None


class Outbox:
    """Whole frames, releases of pins, and news of objects that wait for the next flush."""

    def __init__(self) -> None:
        self._items: deque[bytes | tuple[bytes] | News] = deque()
        # Whoever takes an object's news out of here decides: the sender that it is said, its owner that it is not.
        self._unsaid: dict[bytes, News] = {}
        # The sender's own: objects whose news it found withdrawn, and whose pins' releases come behind.
        self._passed_over: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._items)

    def frame(self, data: bytes) -> None:
        """Append a frame."""
        self._items.append(data)

    def release(self, object_id: bytes) -> None:
        """A pin of that object ended."""
        self._items.append((object_id,))

    def news(self, news: News) -> None:
        """Have an object announced with the next flush."""
        self._unsaid[news.object_id] = news
        self._items.append(news)

    def withdraw(self, object_id: bytes) -> News | None:
        """Say nothing of the object, nor of the end of its pin, if it was not announced yet.

        returns: what was not said, None when it is too late.
        """
        return self._unsaid.pop(object_id, None)

    def drain(self) -> bytes:
        """Take everything, as frames; neighbouring releases share one. Only the holder of the sending lock does."""
        frames: list[bytes] = []
        released: list[bytes] = []
        items = self._items
        while items:
            item = items.popleft()
            if isinstance(item, tuple) and not isinstance(item, News):
                if item[0] in self._passed_over:
                    self._passed_over.remove(item[0])
                else:
                    released.append(item[0])
                continue
            if isinstance(item, News):
                if self._unsaid.pop(item.object_id, None) is None:
                    self._passed_over.add(item.object_id)
                    continue
                data = _seal(item)
            else:
                data = item
            if released:
                frames.append(_release(released))
                released = []
            frames.append(data)
        if released:
            frames.append(_release(released))
        return b"".join(frames)


def _seal(news: News) -> bytes:
    part = news.part
    seal = pb.Seal(
        object_id=news.object_id,
        keep_pin=True,
        extent=part.extent,
        offset=part.offset,
        size=news.size,
        owner=news.owner,
    )
    return encode_frame(pb.SEAL, seal.SerializeToString())


def _release(object_ids: list[bytes]) -> bytes:
    return encode_frame(pb.RELEASE, pb.Release(object_ids=object_ids).SerializeToString())
