"""Objects that are being written here, by a client or a pull, and who waits for their end."""

from collections.abc import Callable

from manta_common.ids import ObjectId


class Writes:
    """Callbacks to run once an object is sealed or given up."""

    def __init__(self) -> None:
        self._on_settled: dict[ObjectId, list[Callable[[], None]]] = {}

    def when_settled(self, object_id: ObjectId, again: Callable[[], None]) -> None:
        self._on_settled.setdefault(object_id, []).append(again)

    def settled(self, object_id: ObjectId) -> None:
        for again in self._on_settled.pop(object_id, ()):
            again()
