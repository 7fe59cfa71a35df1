"""What was asked of which raylet for the tasks of one scheduling key; changed under the process's lock."""

from __future__ import annotations

from typing import Final, NamedTuple


class Place(NamedTuple):
    """A raylet that is asked, and how often the units were sent on before they came there.

    Units that came to a raylet by ways of different length are counted apart, there as here. node_id: b"" is the
    process's own raylet, which needs no address.
    """

    node_id: bytes
    hops: int
    address: str = ""


HOME: Final = Place(b"", 0)


class Asked:
    """Workers asked for and not granted yet, by place."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts: dict[tuple[bytes, int], int] = {}
        self.total = 0

    def at(self, place: Place) -> int:
        return self._counts.get(place[:2], 0)

    def set(self, place: Place, count: int) -> None:
        self.total += count - self._counts.pop(place[:2], 0)
        if count:
            self._counts[place[:2]] = count

    def less(self, place: Place, count: int) -> None:
        """So many were granted or sent on; never below zero: news may come for what was cancelled."""
        self.set(place, max(0, self.at(place) - count))

    def drop_node(self, node_id: bytes) -> bool:
        """Nothing comes from that raylet any more. returns: whether something was to."""
        gone = [place for place in self._counts if place[0] == node_id]
        for place in gone:
            self.total -= self._counts.pop(place)
        return bool(gone)

    def clear(self) -> tuple[bytes, ...]:
        """Nothing is wanted any more. returns: the raylets that have to be told."""
        nodes = tuple(dict.fromkeys(node_id for node_id, _ in self._counts))
        self._counts.clear()
        self.total = 0
        return nodes
