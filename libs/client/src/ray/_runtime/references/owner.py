"""The owner's table of who else holds its objects.

A hold is (worker, tag, number). A borrower's hold has an empty tag and the number of that borrow, so each borrow is
its own hold: registered once, dropped once, matched exactly. A container's hold has a tag that names the outer object
and the process that filled it, and number 0.

A drop may overtake the reply that registers the same borrow, since replies travel apart from reference messages. The
table then remembers (worker, number) as `early` until the reply arrives and cancels it. Each entry of `early` has one
reply under way, so there are never more than replies in flight; all go with the object or the worker.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ray._runtime.references.borrower import Shield


class RemoteHold(NamedTuple):
    """A container hold at another owner that ends when an object of ours is freed."""

    owner: bytes
    object_id: bytes
    tag: bytes


class Owned:
    """What is known of an owned object beyond its local counts; made only when someone else sees it."""

    __slots__ = ("contents", "early", "given", "holds", "results")

    def __init__(self) -> None:
        self.holds: dict[bytes, set[tuple[bytes, int]]] = {}  # worker -> (tag, number)
        self.early: dict[bytes, set[int]] = {}  # worker -> numbers dropped before they were registered
        self.given: Shield | None = None  # refs that we took out of its value
        self.contents: list[bytes] = []  # inner objects counted in this process
        self.results: list[RemoteHold] = []  # inner objects counted at their owners


class Peer:
    """One process that holds, or held, something of ours; kept until it dies."""

    __slots__ = ("added", "asked", "full_set", "objects", "seen")

    def __init__(self) -> None:
        self.seen = 0  # highest request id; what is not above it is late or repeated
        self.full_set = 0  # request id of its last full set
        self.objects: dict[bytes, None] = {}  # with a hold or an early drop of it
        self.added: set[tuple[bytes, bytes, bytes]] = set()  # (object, holder, tag) that it made for others
        self.asked: dict[tuple[bytes, bytes, bytes], None] = {}  # (object, tag, dead adder) that it has to confirm


class HolderTable:
    """Holds of other processes on our objects, indexed by object and by process."""

    def __init__(self) -> None:
        self.peers: dict[bytes, Peer] = {}
        self._adder: dict[tuple[bytes, bytes, bytes], bytes] = {}  # container hold -> who made it

    def peer(self, worker: bytes) -> Peer:
        """The record of a process, made on first sight."""
        peer = self.peers.get(worker)
        if peer is None:
            peer = self.peers[worker] = Peer()
        return peer

    def is_new(self, sender: bytes, request_id: int) -> bool:
        """Note a numbered message; False when it is late or repeated and must be ignored."""
        peer = self.peer(sender)
        if request_id <= peer.seen:
            return False
        peer.seen = request_id
        return True

    def add(self, object_id: bytes, owned: Owned, worker: bytes, tag: bytes, number: int) -> None:
        """Record a hold; idempotent."""
        owned.holds.setdefault(worker, set()).add((tag, number))
        self.peer(worker).objects[object_id] = None

    def add_container(self, object_id: bytes, owned: Owned, worker: bytes, tag: bytes, adder: bytes) -> None:
        """Record a hold that `adder` makes for `worker`, which takes it over with the reply."""
        self.add(object_id, owned, worker, tag, 0)
        self._adder[object_id, worker, tag] = adder
        self.peer(adder).added.add((object_id, worker, tag))

    def register_kept(self, object_id: bytes, owned: Owned, worker: bytes, number: int) -> None:
        """Record a borrow named in a reply, unless its end, or a later full set, came first."""
        early = owned.early.get(worker)
        if early is not None and number in early:
            early.remove(number)
            self._tidy(object_id, owned, worker)
        elif number > self.peer(worker).full_set:
            self.add(object_id, owned, worker, b"", number)

    def drop(self, object_id: bytes, owned: Owned, worker: bytes, tag: bytes, number: int) -> None:
        """Remove a hold; a borrow that is not registered yet is remembered as dropped early."""
        holds = owned.holds.get(worker)
        if holds is not None and (tag, number) in holds:
            holds.remove((tag, number))
            if tag:
                self._forget_container(object_id, worker, tag)
            self._tidy(object_id, owned, worker)
        elif not tag:
            owned.early.setdefault(worker, set()).add(number)
            self.peer(worker).objects[object_id] = None

    def _forget_container(self, object_id: bytes, worker: bytes, tag: bytes) -> None:
        adder = self._adder.pop((object_id, worker, tag))
        maker, holder = self.peers.get(adder), self.peers.get(worker)
        if maker is not None:
            maker.added.discard((object_id, worker, tag))
        if holder is not None:
            holder.asked.pop((object_id, tag, adder), None)

    def _tidy(self, object_id: bytes, owned: Owned, worker: bytes) -> None:
        if not owned.holds.get(worker):
            owned.holds.pop(worker, None)
            if not owned.early.get(worker):
                owned.early.pop(worker, None)
                self.peers[worker].objects.pop(object_id, None)

    def forget(self, object_id: bytes, owned: Owned) -> None:
        """Drop all that is remembered of an object that is being freed."""
        for worker, holds in owned.holds.items():
            for tag, _ in holds:
                if tag:
                    self._forget_container(object_id, worker, tag)
            self.peers[worker].objects.pop(object_id, None)
        for worker in owned.early:
            self.peers[worker].objects.pop(object_id, None)
        owned.holds.clear()
        owned.early.clear()

    def replace(
        self, sender: bytes, request_id: int, listed: Iterable[tuple[bytes, int]], find: Callable[[bytes], Owned]
    ) -> list[bytes]:
        """Make the borrows of `sender` what it lists, but keep those newer than the list.

        returns: objects that lost a hold. cost: O(listed + objects that the sender holds).
        """
        peer = self.peer(sender)
        peer.full_set = request_id
        wanted: dict[bytes, set[int]] = {}
        for object_id, number in listed:
            wanted.setdefault(object_id, set()).add(number)
        lost = []
        for object_id in tuple(peer.objects):
            owned = find(object_id)
            numbers = wanted.get(object_id, ())
            for tag, number in tuple(owned.holds.get(sender, ())):
                if not tag and number not in numbers and number < request_id:
                    owned.holds[sender].remove((tag, number))
                    lost.append(object_id)
            self._tidy(object_id, owned, sender)
        return lost

    def remove_worker(
        self, worker: bytes, find: Callable[[bytes], Owned]
    ) -> tuple[list[bytes], list[tuple[bytes, bytes, bytes]]]:
        """Remove a dead process.

        returns: objects that it held; and containers, as (object_id, holder, tag), that it made for others and that
        the holder may never have heard of.
        """
        peer = self.peers.pop(worker, None)
        if peer is None:
            return [], []
        for object_id in peer.objects:
            owned = find(object_id)
            for tag, _ in owned.holds.pop(worker, ()):
                if tag:
                    self._forget_container(object_id, worker, tag)
                    peer.added.discard((object_id, worker, tag))  # made for itself, by calling itself
            owned.early.pop(worker, None)
        for object_id, holder, tag in peer.added:
            self.peer(holder).asked[object_id, tag, worker] = None
        return list(peer.objects), sorted(peer.added)

    def clear(self) -> None:
        """Forget all holds, but not which messages were seen."""
        self._adder.clear()
        for peer in self.peers.values():
            peer.objects.clear()
            peer.added.clear()
            peer.asked.clear()

    def totals(self) -> Iterator[tuple[str, int]]:
        """Sizes for state output and tests."""
        peers = self.peers.values()
        yield "held_objects", sum(len(peer.objects) for peer in peers)
        yield "container_holds", len(self._adder)
        yield "unconfirmed_holds", sum(len(peer.asked) for peer in peers)
        yield "made_for_others", sum(len(peer.added) for peer in peers)
