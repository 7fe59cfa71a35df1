"""Reserving the bundles of one group: a two-phase commit with the raylets, in numbered attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from manta_common.ids import NodeId


@dataclass(frozen=True, slots=True)
class Held:
    """A bundle as a node holds it, or was told to: the attempt tells this reservation from earlier ones."""

    index: int
    node_id: NodeId
    attempt: int


class BundleReservation:
    """Which node holds which bundle of a group, and the attempt that is under way.

    An attempt prepares the bundles of a plan. When all are prepared, seal() makes them `placed`: from then on each is
    committed, as often as need be, until its node holds it or is dead. Bundles of one attempt fail together before
    seal(), and each for itself after it.
    """

    __slots__ = ("_prepared", "attempt", "count", "placed", "plan", "uncommitted")

    def __init__(self, count: int, placed: Iterable[Held] = (), committed: bool = False) -> None:
        """placed: from a record; without `committed` nobody knows yet which of them their nodes hold for good."""
        self.count = count
        self.placed = {held.index: held for held in placed}
        self.uncommitted: set[int] = set() if committed else set(self.placed)
        self.plan: dict[int, NodeId] = {}
        self.attempt = 0
        self._prepared: set[int] = set()

    @property
    def missing(self) -> list[int]:
        """Bundles that no node holds, whether or not an attempt is under way."""
        return [index for index in range(self.count) if index not in self.placed]

    @property
    def whole(self) -> bool:
        """Whether every bundle is committed."""
        return len(self.placed) == self.count and not self.uncommitted

    @property
    def unprepared(self) -> list[Held]:
        return [held for held in self._planned() if held.index not in self._prepared]

    def usable(self) -> list[Held]:
        return [held for held in self.placed.values() if held.index not in self.uncommitted]

    def holds(self, held: Held) -> bool:
        """Whether the node is meant to hold this bundle by this attempt."""
        return self.placed.get(held.index) == held or (
            held.attempt == self.attempt and self.plan.get(held.index) == held.node_id
        )

    def begin(self, attempt: int, plan: Mapping[int, NodeId]) -> list[Held]:
        """Start an attempt for missing bundles. returns: what is to be prepared.

        raises: ValueError while another is under way, or for a bundle that is placed; bugs of the caller.
        """
        if self.plan or any(index in self.placed for index in plan):
            raise ValueError(f"attempt {attempt} begins while {sorted(self.plan or self.placed)} are taken")
        self.attempt, self.plan = attempt, dict(plan)
        self._prepared = set()
        return self._planned()

    def prepared(self, held: Held) -> bool:
        """A node reserved a bundle. returns: whether it was the last of the attempt."""
        if not self.plan or not self.holds(held) or held.index in self.placed:
            return False
        self._prepared.add(held.index)
        return len(self._prepared) == len(self.plan)

    def seal(self) -> list[Held]:
        """All are prepared: they are placed now. returns: what is to be committed."""
        sealed = self._planned()
        self.placed.update((held.index, held) for held in sealed)
        self.uncommitted.update(held.index for held in sealed)
        self.plan, self._prepared = {}, set()
        return sealed

    def committed(self, held: Held) -> bool:
        """returns: whether that changed anything."""
        if self.placed.get(held.index) != held or held.index not in self.uncommitted:
            return False
        self.uncommitted.remove(held.index)
        return True

    def abandon(self) -> list[Held]:
        """Give the attempt up. returns: all of it, for an order to prepare may still be on its way."""
        given_up = self._planned()
        self.plan, self._prepared = {}, set()
        return given_up

    def lose(self, held: Held) -> None:
        """The node does not hold this placed bundle any more."""
        if self.placed.get(held.index) == held:
            del self.placed[held.index]
            self.uncommitted.discard(held.index)

    def on_node(self, node_id: NodeId) -> list[Held]:
        return [held for held in self.placed.values() if held.node_id == node_id]

    def uses(self, node_id: NodeId) -> bool:
        """Whether the attempt under way wants something of this node."""
        return node_id in self.plan.values()

    def nodes(self) -> set[NodeId]:
        """Every node that holds something, or was told to."""
        return {held.node_id for held in self.placed.values()} | set(self.plan.values())

    def everything(self) -> list[Held]:
        """All that nodes hold, or were told to."""
        return [*self.placed.values(), *self._planned()]

    def clear(self) -> None:
        """No node shall hold anything of it any more."""
        self.abandon()
        self.placed, self.uncommitted = {}, set()

    def _planned(self) -> list[Held]:
        return [Held(index, node_id, self.attempt) for index, node_id in self.plan.items()]
