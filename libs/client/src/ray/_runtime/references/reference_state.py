"""Settling: what follows when a use of an object, a shield or a request ends.

One ending can cause many: a freed object frees what it contained, an Ack lets a shield end and with it a hold. All of
it runs from two work lists, never by recursion, since chains of objects can be any length.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ray._runtime.references.borrower import Borrow, BorrowState, BorrowTable, Request, Shield
from ray._runtime.references.owner import HolderTable, Owned, RemoteHold
from ray._runtime.references.reference_command import (
    Command,
    Forget,
    Free,
    Gone,
    OwnerDied,
    ReplyReady,
    SendAdd,
    SendDrop,
    WatchProcess,
)

REMEMBERED_DEATHS: Final = 10_000  # beyond it a straggler's sender is watched again, and so declared dead again


class Counts(NamedTuple):
    """Why one object is alive in this process."""

    owner: bytes
    local: int
    submitted: int
    contained: int
    pinned: bool
    borrowers: int
    containers: int
    borrow: BorrowState | None  # None when this process owns it


class Entry:
    """Uses of one object in this process."""

    __slots__ = ("contained", "extra", "local", "submitted")

    def __init__(self) -> None:
        self.local = 1
        self.submitted = 0
        self.contained = 0  # objects of ours that contain it; the job's pin counts as one
        self.extra: Owned | Borrow | None = None  # None: ours, and nobody else has seen it


class Work:
    """What one event still has to settle, and the commands so far."""

    __slots__ = ("objects", "out", "shields")

    def __init__(self) -> None:
        self.objects: list[bytes] = []  # may have lost their last use
        self.shields: list[Shield] = []  # may have got their last Ack
        self.out: list[Command] = []


class Settlement:
    """The counter's tables, and the moves between them that several events share."""

    def __init__(self, worker_id: bytes) -> None:
        self.worker_id = worker_id
        self.entries: dict[bytes, Entry] = {}
        self.holders = HolderTable()
        self.borrows = BorrowTable()
        self.leaving: dict[bytes, list[RemoteHold]] = {}  # of freed objects: their holds wait for Acks
        self.watched: set[bytes] = set()
        self.dead: dict[bytes, None] = {}  # in order of death, at most REMEMBERED_DEATHS
        self._number = 0

    def next_number(self) -> int:
        """The next of the one rising series that numbers borrows and messages alike."""
        self._number += 1
        return self._number

    def owned(self, object_id: bytes) -> Owned:
        """The record of an object of ours that others see. raises: LookupError if it is not ours or not alive."""
        entry = self.entries.get(object_id)
        if entry is None or isinstance(entry.extra, Borrow):
            raise LookupError(f"object {object_id.hex()} is not owned here, or was freed; please report this bug")
        if entry.extra is None:
            entry.extra = Owned()
        return entry.extra

    def owns(self, object_id: bytes) -> bool:
        """Whether the object is ours and alive."""
        entry = self.entries.get(object_id)
        return entry is not None and not isinstance(entry.extra, Borrow)

    def borrow(self, object_id: bytes) -> Borrow:
        """The record of a borrowed object. raises: LookupError if this process does not borrow it."""
        entry = self.entries.get(object_id)
        if entry is None or not isinstance(entry.extra, Borrow):
            raise LookupError(f"object {object_id.hex()} is not borrowed here; please report this bug")
        return entry.extra

    def watch(self, worker: bytes, work: Work) -> None:
        """Have the death of a process reported, once."""
        if worker not in self.watched and worker != self.worker_id and worker not in self.dead:
            self.watched.add(worker)
            work.out.append(WatchProcess(worker))

    def mark_dead(self, worker: bytes) -> None:
        """Remember a death, and forget the oldest when there are too many."""
        self.watched.discard(worker)
        self.dead[worker] = None
        if len(self.dead) > REMEMBERED_DEATHS:
            del self.dead[next(iter(self.dead))]

    def clear(self) -> list[Command]:
        """Forget all objects; what was seen of other processes stays, so that stragglers do no harm.

        returns: Free for all that is ours, and Drops for what other owners hold for us.
        """
        out: list[Command] = [Free(object_id) for object_id in self.entries if self.owns(object_id)]
        for owner, peer in self.borrows.peers.items():
            for object_id in peer.borrowed:
                borrow = self.borrow(object_id)
                if borrow.state in (BorrowState.ADDING, BorrowState.HELD):
                    number = self.next_number()
                    out.append(SendDrop(owner, object_id, self.worker_id, b"", borrow.number, number))
            for object_id, tag in (*peer.taken, *peer.drops.values()):
                out.append(SendDrop(owner, object_id, self.worker_id, tag, 0, self.next_number()))
        self.entries.clear()
        self.leaving.clear()
        self.holders.clear()
        self.borrows = BorrowTable()
        return out

    def counts(self, object_id: bytes, pinned: bool) -> Counts | None:
        """Why an object is alive; None for one that this process does not know."""
        entry = self.entries.get(object_id)
        if entry is None:
            return None
        extra = entry.extra
        uses = (entry.local, entry.submitted, entry.contained - pinned, pinned)
        if isinstance(extra, Borrow):
            return Counts(extra.owner, *uses, 0, 0, extra.state)
        tags = [tag for holds in extra.holds.values() for tag, _ in holds] if extra is not None else []
        containers = sum(1 for tag in tags if tag)
        return Counts(self.worker_id, *uses, len(tags) - containers, containers, None)

    def totals(self) -> dict[str, int]:
        """Sizes for state output and tests."""
        return {**dict(self.holders.totals()), **dict(self.borrows.totals()), "leaving": len(self.leaving)}

    # -- the work lists

    def settle(self, work: Work) -> list[Command]:
        """Run until nothing follows. cost: O(what ended), independent of how deep it was nested."""
        while True:
            if work.objects:
                self._settle_object(work.objects.pop(), work)
            elif work.shields:
                self._settle_shield(work.shields.pop(), work)
            else:
                return work.out

    def _settle_object(self, object_id: bytes, work: Work) -> None:
        entry = self.entries.get(object_id)
        if entry is None or entry.local or entry.submitted or entry.contained:
            return
        extra = entry.extra
        if isinstance(extra, Borrow):
            self._end_borrow(object_id, extra, work)
        elif extra is None or not extra.holds:
            self._free(object_id, extra, work)

    def _settle_shield(self, shield: Shield, work: Work) -> None:
        if shield.waits:
            return
        if shield.caller:
            self._end_task(shield, work)
        elif shield.source in self.leaving:
            self.drop_results(self.leaving.pop(shield.source), work)
        else:
            work.objects.append(shield.source)

    # -- endings

    def _free(self, object_id: bytes, owned: Owned | None, work: Work) -> None:
        del self.entries[object_id]
        work.out.append(Free(object_id))
        if owned is None:
            return
        self.holders.forget(object_id, owned)
        for inner in owned.contents:
            self.entries[inner].contained -= 1
            work.objects.append(inner)
        if owned.given is not None:
            self.register_all(owned.given, owned.given, work)
            if owned.given.waits:
                self.leaving[object_id] = owned.results
                return
        self.drop_results(owned.results, work)

    def _end_borrow(self, object_id: bytes, borrow: Borrow, work: Work) -> None:
        given = borrow.given
        if given is not None:
            if borrow.shield is not None:
                for inner in tuple(given.inners):
                    if not self._end_resting(inner, work):
                        self.borrow(inner).protect(inner, borrow.shield)
            else:
                self.register_all(given, given, work)
            if given.waits:
                return  # the last Ack settles this object again; until then it may come back into use
        state, request = borrow.state, borrow.request
        borrow.expose(object_id)
        del self.entries[object_id]
        peer = self.borrows.peers.get(borrow.owner)
        if peer is not None:
            peer.borrowed.pop(object_id, None)
        if request is not None:
            self.answered(request, work)  # nothing is left to protect; its Ack will be ignored
        if state is BorrowState.ADDING or state is BorrowState.HELD:
            number = self.next_number()
            work.out.append(SendDrop(borrow.owner, object_id, self.worker_id, b"", borrow.number, number))
        work.out.append(Forget(object_id))

    def _end_resting(self, object_id: bytes, work: Work) -> bool:
        """End a borrow that only rested behind its shield. returns: whether it did."""
        entry = self.entries[object_id]
        if entry.local or entry.submitted or entry.contained:
            return False
        assert isinstance(entry.extra, Borrow), "only borrows are behind shields"
        self._end_borrow(object_id, entry.extra, work)
        return True

    def _end_task(self, shield: Shield, work: Work) -> None:
        """Register what the task still protects, or if that is done, release its reply."""
        if not shield.done or self.borrows.tasks.get(shield.source) is not shield:
            return
        to_caller = [inner for inner in shield.inners if self.borrow(inner).owner == shield.caller]
        self.register_all(shield, shield, work, all_but=shield.caller)
        if shield.waits:
            return
        kept = []
        for inner in to_caller:
            borrow = self.borrow(inner)
            borrow.expose(inner)
            borrow.number = self.next_number()
            borrow.move(BorrowState.HELD)
            kept.append((inner, borrow.number))
        del self.borrows.tasks[shield.source]
        work.out.append(ReplyReady(shield.source, tuple(kept)))

    # -- registering

    def register_all(self, shield: Shield, waiter: Shield | None, work: Work, all_but: bytes = b"") -> None:
        """Register every borrow behind a shield, except those of one owner; `waiter` ends only after the Acks."""
        for inner in tuple(shield.inners):
            if self._end_resting(inner, work):
                continue
            borrow = self.borrow(inner)
            # A dead owner's borrows are about to become LOST, which takes them from behind their shields.
            if borrow.owner != all_but and borrow.owner not in self.dead:
                self.register(inner, borrow, waiter, work)

    def register(self, object_id: bytes, borrow: Borrow, waiter: Shield | None, work: Work) -> None:
        """Ask the owner to count us for a SHIELDED borrow."""
        borrow.expose(object_id)
        borrow.move(BorrowState.ADDING)
        borrow.number = self.next_number()
        borrow.request = Request(borrow.owner, object_id, self.worker_id, b"", borrow.number, waiter)
        self.request(borrow.request, work)

    def request(self, request: Request, work: Work) -> None:
        """Send an Add for the first time."""
        if request.waiter is not None:
            request.waiter.waits += 1
        self.send_add(request, work)

    def send_add(self, request: Request, work: Work) -> None:
        """Send an Add, under a new request id."""
        request.request_id = self.next_number()
        self.borrows.peer(request.owner).requests[request.request_id] = request
        work.out.append(
            SendAdd(request.owner, request.object_id, request.holder, request.tag, request.number, request.request_id)
        )

    def answered(self, request: Request, work: Work) -> None:
        """Close a request: its Ack came, or nobody needs it any more."""
        peer = self.borrows.peers.get(request.owner)
        if peer is not None:
            peer.requests.pop(request.request_id, None)
        if request.counted:
            self.entries[request.object_id].submitted -= 1
            work.objects.append(request.object_id)
        if request.waiter is not None:
            request.waiter.waits -= 1
            work.shields.append(request.waiter)

    def lose(self, object_id: bytes, notice: OwnerDied | Gone, work: Work) -> None:
        """Turn a borrow into one without an owner to talk to."""
        borrow = self.borrow(object_id)
        if borrow.state is BorrowState.LOST:
            return
        request = borrow.request
        borrow.expose(object_id)
        borrow.move(BorrowState.LOST)
        work.out.append(notice)
        if request is not None:
            self.answered(request, work)
        if borrow.given is not None:
            self.register_all(borrow.given, None, work)
        work.objects.append(object_id)

    # -- container holds

    def drop_results(self, results: Iterable[RemoteHold], work: Work) -> None:
        """Drop holds that came with the result of a task; those of dead owners are gone already."""
        for hold in results:
            peer = self.borrows.peers.get(hold.owner)
            if peer is not None and (hold.object_id, hold.tag) in peer.taken:
                del peer.taken[hold.object_id, hold.tag]
                self.drop_container(hold.owner, hold.object_id, hold.tag, work)

    def drop_container(self, owner: bytes, object_id: bytes, tag: bytes, work: Work) -> None:
        """Send the Drop of a container hold, and repeat it on each new connection until it is answered."""
        number = self.next_number()
        self.borrows.peer(owner).drops[number] = (object_id, tag)
        work.out.append(SendDrop(owner, object_id, self.worker_id, tag, 0, number))
