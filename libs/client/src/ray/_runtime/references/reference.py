"""The distributed reference counter of one process: which objects live, and whom to tell.

Every object has one owner, the process that made its id. The owner frees it when the owner has no local reference, no
unfinished task that takes it, no live object that contains it, and no hold of another process. This module is that
rule and the protocol that keeps holds right. It does no I/O and takes no lock: its shell calls it under one lock, and
puts the commands that it returns into the outgoing queues, in order, before it lets go of that lock.

**Uses.** Each process counts, per object that it knows: local references (live views count as such), unfinished tasks
of its own that take the object, and objects of its own that contain it. A borrower whose uses are all gone lets go.

**Shields.** A process that receives a ref of another owner does not tell the owner at once. A ref that came with a
task is protected by the caller, which counts the task until it has the reply; one that came out of an object is
protected by our use of that object. Such a protector is a shield. Before a shield ends, every ref behind it that is
still in use is made safe on its own:

- a task ends: refs of the caller are named in the reply as kept, each with a number, and the caller registers them
  before it stops counting the task. For refs of third processes an Add goes to the owner; the reply waits for its Ack.
- our last use of an object ends: if its owner counts us, Adds go out for what is behind it, and our Drop waits for
  their Acks. If it was itself behind a shield, what is behind it moves behind that one, without a message.
- an object of ours is freed: holds of its results (below) are dropped after those Acks.

A ref keeps its first shield. A later one must not take its place: that caller may have got the ref from us, and then
each would count on the other.

**Results.** When the result of a task contains refs, the executing process makes a container hold for the caller at
each inner ref's owner, tagged with the result's id and its own, and waits for the Acks before it replies. The caller
takes the holds over with the reply and drops them when it frees the result. If the executor dies, the owner asks the
caller (Confirm) about each hold it made, and a caller that never got the reply, and knows that it never will, drops it.
The tag names the executor so that this cannot hit the hold which another attempt of the task made.

**Numbers.** One counter per process, rising, numbers its borrows and its Add, Drop and FullSet messages. Each borrow
is its own hold at the owner, (worker, number), registered once and dropped once, so that a Drop which overtakes the
reply with its registration cancels it. An owner ignores a message not above the highest it has seen from that
process: within a connection messages are in order, so those are late or repeated.

**Reconnect.** The first message to an owner on a new connection is the full set of borrows. It replaces what the owner
had, except borrows numbered after it, which came in a reply. Unanswered Adds, and Drops of container holds, which are
answered for this purpose, are then sent again. Whatever the old connection lost or still delivers does no harm.

**Death** is declared, final, and reported to every process that watches. The dead process's holds go, its objects
turn into OwnerDied, whatever waited for its Acks goes on, and its later messages are ignored. Nothing else ends a
hold: a slow process keeps what it has.

**What the shell owes.** A task attempt ends by its reply or by the executor's declared death, no other way; each reply
is taken once, in full even if its result is unwanted, and not after the executor was declared dead. Inner refs are
deserialized while the outer object, or the task, is still in use. task_done comes while returned refs are still held.

**The open window.** A ref behind a shield has no hold of its own. If the process that protects it dies, the owner may
free the object before our Add arrives. We send the Add as soon as we learn of the death; if it is late the Ack says
gone, and a get raises ObjectLostError: bounded to refs behind that process at that moment, never silent, no leak.
Nor can any count see a cycle: two pending results that come to contain each other live until their owners end.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ray._runtime.references.borrower import Borrow, BorrowState, Request, Shield
from ray._runtime.references.owner import RemoteHold
from ray._runtime.references.reference_command import (
    Command,
    Free,
    Gone,
    OwnerDied,
    ReplyReady,
    SendAck,
    SendConfirm,
    SendFullSet,
)
from ray._runtime.references.reference_state import Counts, Entry, Settlement, Work

Commands = Sequence[Command]
# Refs that arrived, as (object id, owner's worker id).
Arrivals = Sequence[tuple[bytes, bytes]]
NOTHING: Final[Commands] = ()


class ProtocolError(ValueError):
    """A peer sent what no correct process sends; close its connection and log the text."""


class ReferenceCounter:
    """All references of one process. See the module's docstring for the protocol."""

    def __init__(self, worker_id: bytes) -> None:
        self._id = worker_id
        self._state = Settlement(worker_id)
        self._entries = self._state.entries  # the same dict: one attribute less on the hot path
        self._pinned: set[bytes] = set()

    def become(self, worker_id: bytes) -> None:
        """Count for this process; before anything is counted."""
        self._id = self._state.worker_id = worker_id

    # -- local uses: the hot path

    def create(self, object_id: bytes) -> None:
        """Begin to own a new object, with one local reference."""
        self._entries[object_id] = Entry()

    def add_local(self, object_id: bytes) -> None:
        """Count one more local reference or live view. raises: KeyError if there is none to copy."""
        self._entries[object_id].local += 1

    def drop_some(self, ended: deque[bytes]) -> tuple[list[bytes], Commands]:
        """Count one local reference less for each that it takes out of `ended`, up to the first that has commands.

        returns: the borrows that rest now (see borrower.py), and the commands; when there are none, `ended` is empty.
        raises: KeyError, ValueError when one is dropped more often than added.
        """
        entries, resting = self._entries, list[bytes]()
        while ended:
            object_id = ended.popleft()
            entry = entries[object_id]
            if entry.local < 1:
                raise ValueError(f"object {object_id.hex()} was dropped more often than added; please report this bug")
            entry.local -= 1
            if entry.local or entry.submitted or entry.contained:
                continue
            extra = entry.extra
            if extra is None:
                del entries[object_id]
                return resting, (Free(object_id),)
            if type(extra) is Borrow and extra.may_rest():
                resting.append(object_id)
                continue
            work = Work()
            work.objects.append(object_id)
            if commands := self._state.settle(work):
                return resting, commands
        return resting, NOTHING

    def task_submitted(self, object_ids: Iterable[bytes]) -> None:
        """Count a task, or an actor call, that takes these objects, at top level or nested."""
        for object_id in object_ids:
            self._entries[object_id].submitted += 1

    def task_finished(
        self, object_ids: Iterable[bytes], worker: bytes = b"", kept: Iterable[tuple[bytes, int]] = ()
    ) -> Commands:
        """Take the reply of a task, or its final failure.

        object_ids: as given to task_submitted. worker, kept: from the reply; kept is empty on failure.
        """
        work = Work()
        if worker not in self._state.dead:
            for object_id, number in kept:
                if self._state.owns(object_id):
                    self._state.watch(worker, work)
                    self._state.holders.register_kept(object_id, self._state.owned(object_id), worker, number)
        for object_id in object_ids:
            entry = self._entries[object_id]
            entry.submitted -= 1
            if not (entry.submitted or entry.local or entry.contained):
                work.objects.append(object_id)
        return self._state.settle(work) if work.objects or work.out else NOTHING

    # -- objects that contain refs

    def put_contains(self, outer: bytes, inner_ids: Iterable[bytes]) -> None:
        """Record the refs in the value of a new object of ours; we hold each of them now."""
        contents = self._state.owned(outer).contents
        for inner in inner_ids:
            self._entries[inner].contained += 1
            contents.append(inner)

    def result_contains(self, outer: bytes, executor: bytes, inners: Iterable[tuple[bytes, bytes]]) -> Commands:
        """Take over the container holds that come with a task's result, as (inner, owner).

        Call it for every reply that names refs, also when the result has been freed meanwhile: then they are dropped.
        """
        state, work, tag = self._state, Work(), outer + executor
        if executor in state.dead:
            return NOTHING  # we have answered, or will answer, that we never took them over
        owned = state.owned(outer) if state.owns(outer) else None
        for inner, owner in dict.fromkeys(inners):
            if owner == self._id:
                if not state.owns(inner):
                    continue
                if owned is not None:
                    self._entries[inner].contained += 1
                    owned.contents.append(inner)
                state.holders.drop(inner, state.owned(inner), self._id, tag, 0)
                work.objects.append(inner)
            elif owner not in state.dead:
                state.watch(owner, work)
                if owned is None:
                    state.drop_container(owner, inner, tag, work)
                else:
                    state.borrows.peer(owner).taken[inner, tag] = None
                    owned.results.append(RemoteHold(owner, inner, tag))
        return state.settle(work)

    def contains_refs(self, object_id: bytes) -> bool:
        """Whether the value of an object of ours contains refs. raises: LookupError when it is not ours."""
        owned = self._state.owned(object_id)
        return bool(owned.contents or owned.results)

    def pin_for_job(self, object_id: bytes) -> None:
        """Keep an object in use until drop_all: a ref to it was pickled outside of a call. Idempotent."""
        if object_id not in self._pinned:
            self._entries[object_id].contained += 1
            self._pinned.add(object_id)

    # -- refs that arrive

    def received_in_task(self, refs: Arrivals, task_id: bytes, caller: bytes) -> Commands:
        """Count local references that came with the arguments of a task that runs here."""
        if caller in self._state.dead:
            return self._arrive_all(refs, None)
        tasks = self._state.borrows.tasks
        shield = tasks.get(task_id)
        if shield is None:
            new = any(owner != self._id and object_id not in self._entries for object_id, owner in refs)
            if not new:
                return self._arrive_all(refs, None)
            shield = tasks[task_id] = Shield(task_id, caller)
        return self._arrive_all(refs, shield)

    def received_in_object(self, refs: Arrivals, outer: bytes) -> Commands:
        """Count local references that came out of the value of an object in use here.

        raises: LookupError when `outer` is not in use; deserialize before its last reference goes.
        """
        entry = self._entries.get(outer)
        if entry is None:
            raise LookupError(f"object {outer.hex()} is not in use here, so its refs have no protection")
        extra = entry.extra if isinstance(entry.extra, Borrow) else self._state.owned(outer)
        if isinstance(extra, Borrow) and extra.state is BorrowState.LOST:
            return self._arrive_all(refs, None)
        if extra.given is None:
            extra.given = Shield(outer)
        return self._arrive_all(refs, extra.given)

    def received_elsewhere(self, refs: Arrivals) -> Commands:
        """Count local references that came outside of a call; the pin of whoever pickled them keeps them alive."""
        return self._arrive_all(refs, None)

    def _arrive_all(self, refs: Arrivals, shield: Shield | None) -> Commands:
        entries, commands = self._entries, list[Command]()
        for object_id, owner in refs:
            entry = entries.get(object_id)
            if entry is not None:
                entry.local += 1
            else:
                commands += self._arrive(object_id, owner, shield)
        return commands

    def _arrive(self, object_id: bytes, owner: bytes, shield: Shield | None) -> Commands:
        """Count the first reference to an object."""
        state = self._state
        entry = self._entries[object_id] = Entry()
        if owner == self._id:
            return (Gone(object_id),)
        entry.extra = borrow = Borrow(owner)
        if owner in state.dead:
            borrow.move(BorrowState.LOST)
            return (OwnerDied(object_id),)
        state.borrows.peer(owner).borrowed[object_id] = None
        if shield is not None and owner in state.watched:
            borrow.protect(object_id, shield)
            return NOTHING
        work = Work()
        state.watch(owner, work)
        if shield is None:
            state.register(object_id, borrow, None, work)
        else:
            borrow.protect(object_id, shield)
        return work.out

    def task_done(
        self, task_id: bytes, caller: bytes, results: Mapping[bytes, Iterable[tuple[bytes, bytes]]] | None = None
    ) -> Commands:
        """End a task that ran here; its reply may leave when ReplyReady comes, now or after Acks.

        results: for each result object that contains refs, those as (inner, owner); this process still holds them.
        raises: LookupError when a contained ref of ours is not held any more.
        """
        state, work = self._state, Work()
        shield = state.borrows.tasks.get(task_id)
        if shield is None:
            if not results:
                return (ReplyReady(task_id, ()),)
            shield = state.borrows.tasks[task_id] = Shield(task_id, caller)
        shield.done = True
        work.shields.append(shield)
        for outer, inners in results.items() if results and caller not in state.dead else ():
            state.watch(caller, work)
            for inner, owner in dict.fromkeys(inners):
                if owner == self._id:
                    state.holders.add_container(inner, state.owned(inner), caller, outer + self._id, self._id)
                elif owner not in state.dead:
                    state.watch(owner, work)
                    request = Request(owner, inner, caller, outer + self._id, 0, shield)
                    entry = self._entries.get(inner)
                    if entry is not None:  # keeps what protects it here from ending before the owner knows
                        entry.submitted += 1
                        request.counted = True
                    state.request(request, work)
        return state.settle(work)

    # -- messages to the owner

    def on_add(
        self, sender: bytes, object_id: bytes, holder: bytes, tag: bytes, number: int, request_id: int
    ) -> Commands:
        """Count a holder. raises: ProtocolError."""
        self._check_holder(sender, holder, made_for_another=bool(tag))
        state, work = self._state, Work()
        if sender in state.dead or not state.holders.is_new(sender, request_id):
            return NOTHING
        state.watch(sender, work)
        gone = not state.owns(object_id)
        if not gone and not tag:
            state.holders.add(object_id, state.owned(object_id), holder, tag, number)
        elif not gone and holder not in state.dead:
            state.watch(holder, work)
            state.holders.add_container(object_id, state.owned(object_id), holder, tag, sender)
        work.out.append(SendAck(sender, request_id, gone))
        return work.out

    def on_drop(
        self, sender: bytes, object_id: bytes, holder: bytes, tag: bytes, number: int, request_id: int
    ) -> Commands:
        """Stop counting a holder. raises: ProtocolError."""
        self._check_holder(sender, holder, made_for_another=False)
        state, work = self._state, Work()
        if sender in state.dead or not state.holders.is_new(sender, request_id):
            return NOTHING
        state.watch(sender, work)
        if tag:
            work.out.append(SendAck(sender, request_id, False))
        if state.owns(object_id):
            state.holders.drop(object_id, state.owned(object_id), holder, tag, number)
            work.objects.append(object_id)
        return state.settle(work)

    def on_full_set(self, sender: bytes, request_id: int, holds: Iterable[tuple[bytes, int]]) -> Commands:
        """Replace the borrows of a process that has a new connection to us."""
        state, work = self._state, Work()
        if sender in state.dead or not state.holders.is_new(sender, request_id):
            return NOTHING
        state.watch(sender, work)
        listed = [(object_id, number) for object_id, number in holds if state.owns(object_id)]
        for object_id, number in listed:
            state.holders.add(object_id, state.owned(object_id), sender, b"", number)
        work.objects += state.holders.replace(sender, request_id, listed, state.owned)
        return state.settle(work)

    def _check_holder(self, sender: bytes, holder: bytes, *, made_for_another: bool) -> None:
        if holder != sender and not made_for_another:
            raise ProtocolError(f"process {sender.hex()} speaks for holder {holder.hex()}, which only that one may do")

    # -- messages to the borrower

    def on_ack(self, sender: bytes, request_id: int, gone: bool) -> Commands:
        """Take an owner's answer; late and repeated ones are ignored."""
        state, work = self._state, Work()
        peer = state.borrows.peers.get(sender)
        if peer is None or peer.drops.pop(request_id, None) is not None:
            return NOTHING
        request = peer.requests.get(request_id)
        if request is None:
            return NOTHING
        if not request.tag:
            if gone:
                state.lose(request.object_id, Gone(request.object_id), work)  # answers the request too
                return state.settle(work)
            state.borrow(request.object_id).move(BorrowState.HELD)
        state.answered(request, work)
        return state.settle(work)

    def on_confirm(self, sender: bytes, object_id: bytes, tag: bytes, adder: bytes) -> Commands:
        """Answer, by a Drop or by silence, whether we took over a container hold that `adder` made for us."""
        state, work = self._state, Work()
        if sender in state.dead:
            return NOTHING
        if adder in state.dead:
            self._answer(sender, object_id, tag, work)
        else:
            state.watch(sender, work)
            state.watch(adder, work)
            state.borrows.questions.setdefault(adder, {})[sender, object_id, tag] = None
        return work.out

    def _answer(self, owner: bytes, object_id: bytes, tag: bytes, work: Work) -> None:
        peer = self._state.borrows.peers.get(owner)
        if peer is None or (object_id, tag) not in peer.taken:
            self._state.watch(owner, work)
            self._state.drop_container(owner, object_id, tag, work)

    # -- connections and deaths

    def reconnected(self, peer_id: bytes) -> Commands:
        """Say again, on a new connection to a process, all that it has to know; nothing for a stranger."""
        state, work = self._state, Work()
        peer = state.borrows.peers.get(peer_id)
        if peer is not None:
            borrows = [(object_id, state.borrow(object_id)) for object_id in peer.borrowed]
            registered = (BorrowState.ADDING, BorrowState.HELD)
            holds = tuple((object_id, borrow.number) for object_id, borrow in borrows if borrow.state in registered)
            work.out.append(SendFullSet(peer_id, state.next_number(), holds))
            requests, peer.requests = peer.requests, {}
            for request in requests.values():
                state.send_add(request, work)
            drops, peer.drops = peer.drops, {}
            for object_id, tag in drops.values():
                state.drop_container(peer_id, object_id, tag, work)
        holder = state.holders.peers.get(peer_id)
        if holder is not None:
            work.out += [SendConfirm(peer_id, object_id, tag, adder) for object_id, tag, adder in holder.asked]
        return work.out

    def process_died(self, worker: bytes) -> Commands:
        """Take a declared death: final, and idempotent."""
        state, work = self._state, Work()
        state.mark_dead(worker)
        held, made = state.holders.remove_worker(worker, state.owned)
        work.objects += held
        for object_id, holder, tag in made:
            if holder == self._id:
                state.holders.drop(object_id, state.owned(object_id), holder, tag, 0)
                work.objects.append(object_id)
            else:
                work.out.append(SendConfirm(holder, object_id, tag, worker))
        peer = state.borrows.peers.get(worker)
        if peer is not None:
            for object_id in tuple(peer.borrowed):
                if object_id in peer.borrowed:  # one that rested ends with what it rested behind
                    state.lose(object_id, OwnerDied(object_id), work)
            for request in tuple(peer.requests.values()):
                state.answered(request, work)
            del state.borrows.peers[worker]
        for shield in state.borrows.tasks.values():
            if shield.caller == worker:
                state.register_all(shield, shield, work)
        for owner, object_id, tag in state.borrows.questions.pop(worker, ()):
            self._answer(owner, object_id, tag, work)
        for asked in state.borrows.questions.values():
            for question in [question for question in asked if question[0] == worker]:
                del asked[question]
        return state.settle(work)

    def drop_all(self) -> Commands:
        """End the job here: drop everything, pins included, without waiting for answers.

        The Drops are a courtesy that spares owners the wait for this process's declared death.
        """
        self._pinned.clear()
        return self._state.clear()

    def held_by_others(self) -> Iterator[tuple[bytes, Iterable[bytes]]]:
        """Other processes, each with objects of ours that it keeps alive, or did. cost: O(processes)."""
        for worker, peer in self._state.holders.peers.items():
            if peer.objects and worker != self._id:
                yield worker, peer.objects

    # -- state output

    def is_dead(self, worker: bytes) -> bool:
        """Whether the process was declared dead; its replies must not be taken any more."""
        return worker in self._state.dead

    def counts(self, object_id: bytes) -> Counts | None:
        """Why the object is alive here; None when this process does not know it."""
        return self._state.counts(object_id, object_id in self._pinned)

    def object_ids(self) -> list[bytes]:
        """All objects that this process knows, for `ray memory` and the state API. cost: O(objects)."""
        return list(self._entries)

    def summary(self) -> dict[str, int]:
        """Sizes of all tables that grow with objects; all zero when nothing is in use. cost: O(processes)."""
        return {"objects": len(self._entries), "pinned": len(self._pinned), **self._state.totals()}
