"""Which finished tasks may have to run again, and when one must: a pure core, changed under the process's lock.

The owner keeps the specification of a task while a result of it lies in an arena and somebody may ask for it: the
result is referenced, or a kept specification takes it as an argument. That second use keeps the specification only,
not the value: a chain of tasks of which just the last result is referenced needs room for that one result. When every
copy of a result is lost its task runs again, and ahead of it whatever makes the arguments that are not there any more.

A specification is at rest, or running: its task was submitted again, or makes items for the first time. Until that
first run ends the task itself has its specification, and there is none to let go. At rest it can be withheld, which
leaves the reason only: it was evicted to stay within the limit, or its retries are used up.

    absent -> running         a generator's first item was stored
    absent, running -> rest   the task ended with stored results
    rest -> running           a result was lost, or is the lost argument of one that was
    rest -> withheld          evicted, the oldest first; or no retry is left
    any -> absent             nobody can ask for it any more; a run that is under way ends as any other
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

# Of an object's id, so much is its task's.
_TASK: Final = 24
DEFAULT_LIMIT: Final = 1 << 30


class Reason(Enum):
    """Why an object cannot be computed again; values are the keys of ObjectReconstructionFailedError's texts."""

    PUT = "PUT"
    RETRIES_DISABLED = "RETRIES_DISABLED"
    MAX_ATTEMPTS_EXCEEDED = "MAX_ATTEMPTS_EXCEEDED"
    LINEAGE_EVICTED = "LINEAGE_EVICTED"
    BORROWED = "BORROWED"
    REF_NOT_FOUND = "REF_NOT_FOUND"


class Revive(NamedTuple):
    """Own this freed object again, without a value: a run that is about to begin will make it."""

    object_id: bytes


class Rerun(NamedTuple):
    """Submit this task again; it leaves when its arguments are there."""

    task_id: bytes


class Fail(NamedTuple):
    """This lost object cannot be computed: `culprit`, itself or something that it is made from, is why."""

    object_id: bytes
    reason: Reason
    culprit: bytes


class Release(NamedTuple):
    """Let go of what was kept when this task ended: it will not run again, unless it is running now."""

    task_id: bytes


Command: TypeAlias = Revive | Rerun | Fail | Release
Commands: TypeAlias = Sequence[Command]


class Spec:
    """A task of which a stored result can still be asked for."""

    __slots__ = ("arguments", "dependents", "kept", "live", "missing", "running", "size", "valued", "withheld")

    def __init__(self) -> None:
        self.size = 0
        self.arguments: tuple[bytes, ...] = ()
        # Stored results that are referenced, and those among them of which no copy is left.
        self.live: set[bytes] = set()
        self.missing: set[bytes] = set()
        # Results that were stored once, and since have a value that cannot be lost, or an error.
        self.valued: set[bytes] = set()
        # Kept specifications that take a result of this task, counted once for each such result.
        self.dependents = 0
        self.running = False
        # The task ended once, and its owner has kept what another run needs.
        self.kept = False
        self.withheld: Reason | None = None


class Source:
    """An argument of kept specifications that no kept specification makes. reason: why it cannot be made again."""

    __slots__ = ("dependents", "gone", "reason")

    def __init__(self, reason: Reason) -> None:
        self.dependents = 0
        self.gone = False
        self.reason = reason


class Lineage:
    """The lineage of the objects that one process owns. limit: bytes of specifications, beyond it the oldest go."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.specs: dict[bytes, Spec] = {}
        self.bytes = 0
        # Tasks that were to run again, and lost objects that could not be made.
        self.reruns = 0
        self.failures = 0
        self._sources: dict[bytes, Source] = {}
        # Those at rest that can run, the oldest first.
        self._evictable: OrderedDict[bytes, None] = OrderedDict()

    def missing(self, task_id: bytes) -> tuple[bytes, ...]:
        """The lost objects that a run of this task is to make."""
        spec = self.specs.get(task_id)
        return tuple(spec.missing) if spec is not None else ()

    def makes(self, object_id: bytes) -> bool:
        """Whether the object can be made again: its task is kept, and can run."""
        spec = self.specs.get(object_id[:_TASK])
        return spec is not None and spec.withheld is None

    # -- events

    def item_stored(self, task_id: bytes, object_id: bytes) -> None:
        """A generator that runs made an item that is referenced."""
        spec = self.specs.get(task_id)
        if spec is None:
            spec = self.specs[task_id] = Spec()
            spec.running = True
        self._arrived(spec, object_id)

    def made(self, object_id: bytes) -> None:
        """An object of a kept task got a value that needs no specification: one that cannot be lost, or an error."""
        spec = self.specs.get(object_id[:_TASK])
        if spec is not None and object_id in spec.live:
            spec.live.discard(object_id)
            spec.missing.discard(object_id)
            spec.valued.add(object_id)

    def finished(
        self, task_id: bytes, stored: Collection[bytes], arguments: Mapping[bytes, Reason], size: int, retries: int
    ) -> Commands:
        """A task ended. What of it is lost and did not come is tried again.

        stored: results that are in arenas and referenced. arguments: those that another run would need and that are
        not part of the specification, each with why it could not be made if no kept specification does.
        size: of the specification, bytes. retries: how often it may still run, -1 for ever.
        """
        out: list[Command] = []
        spec = self.specs.get(task_id)
        if spec is None:
            spec = self.specs[task_id] = Spec()
        spec.running, spec.kept = False, True
        for object_id in stored:
            self._arrived(spec, object_id)
        if retries == 0:
            self._withhold(task_id, spec, Reason.MAX_ATTEMPTS_EXCEEDED, out)
        elif spec.withheld is None:
            self._count(spec, size - spec.size)
            self._evictable[task_id] = None
            before, spec.arguments = spec.arguments, tuple(arguments)
            self._refer(arguments)
            self._release_all(before, out)
        self._drop_if_unused(task_id, spec, out)
        for object_id in sorted(spec.missing):
            self._recover(object_id, None, out)
        self._evict(out)
        return out

    def lost(self, object_id: bytes, reason: Reason) -> Commands:
        """No copy of a referenced object is left. reason: why it cannot be made if no kept specification does."""
        out: list[Command] = []
        source = self._sources.get(object_id)
        if source is not None:
            source.gone = True
        spec = self.specs.get(object_id[:_TASK])
        if spec is not None and object_id in spec.live:
            spec.missing.add(object_id)
        self._recover(object_id, reason, out)
        return out

    def freed(self, object_id: bytes) -> Commands:
        """Nobody refers to the object any more, and its value goes."""
        out: list[Command] = []
        source = self._sources.get(object_id)
        if source is not None:
            source.gone = True
        task_id = object_id[:_TASK]
        spec = self.specs.get(task_id)
        if spec is not None:
            spec.live.discard(object_id)
            spec.missing.discard(object_id)
            spec.valued.discard(object_id)
            self._drop_if_unused(task_id, spec, out)
        return out

    # -- running again

    def _recover(self, object_id: bytes, reason: Reason | None, out: list[Command]) -> None:
        """Have a lost object made, with all that it needs, or fail it."""
        plan = self._plan(object_id, reason)
        if isinstance(plan, Fail):
            out.append(plan)
            self.failures += 1
            self.made(object_id)
            task_id = object_id[:_TASK]
            spec = self.specs.get(task_id)
            if spec is not None:
                self._drop_if_unused(task_id, spec, out)
            return
        for task_id, needed in plan.items():
            self.specs[task_id].running = True
            self._evictable.pop(task_id, None)
            for argument in needed:
                maker = self.specs[argument[:_TASK]]
                if argument not in maker.live:
                    maker.live.add(argument)
                    out.append(Revive(argument))
                maker.missing.add(argument)
        self.reruns += len(plan)
        # The deepest first: what the others wait for.
        out += [Rerun(task_id) for task_id in reversed(plan)]

    def _plan(self, root: bytes, reason: Reason | None) -> dict[bytes, list[bytes]] | Fail:
        """The tasks that have to run for an object, each with those of its arguments that are to be made.

        All or nothing: what cannot lead to the object does not run. cost: O(tasks and arguments on the way).
        """
        spec = self.specs.get(root[:_TASK])
        if root not in self._sources and (spec is None or root not in spec.live):
            return Fail(root, reason or Reason.REF_NOT_FOUND, root)
        plan: dict[bytes, list[bytes]] = {}
        stack = [root]
        while stack:
            object_id = stack.pop()
            source = self._sources.get(object_id)
            if source is not None:
                return Fail(root, source.reason, object_id)
            task_id = object_id[:_TASK]
            spec = self.specs[task_id]
            if spec.running or task_id in plan:
                continue
            if spec.withheld is not None:
                return Fail(root, spec.withheld, object_id)
            plan[task_id] = needed = [argument for argument in spec.arguments if not self._is_there(argument)]
            stack += needed
        return plan

    def _is_there(self, argument: bytes) -> bool:
        source = self._sources.get(argument)
        if source is not None:
            return not source.gone
        spec = self.specs[argument[:_TASK]]
        return argument in spec.valued or (argument in spec.live and argument not in spec.missing)

    # -- keeping

    def _arrived(self, spec: Spec, object_id: bytes) -> None:
        spec.live.add(object_id)
        spec.missing.discard(object_id)
        spec.valued.discard(object_id)
        source = self._sources.pop(object_id, None)
        if source is not None:  # it was an argument before it was made
            spec.dependents += source.dependents

    def _refer(self, arguments: Mapping[bytes, Reason]) -> None:
        for argument, reason in arguments.items():
            source = self._sources.get(argument)
            spec = self.specs.get(argument[:_TASK]) if source is None else None
            if spec is not None and argument in spec.live:
                spec.dependents += 1
            else:
                if source is None:
                    source = self._sources[argument] = Source(reason)
                source.dependents += 1

    def _release_all(self, arguments: Iterable[bytes], out: list[Command]) -> None:
        """A specification that took these is kept no more. cost: O(what goes with it), however deep."""
        work = list(arguments)
        while work:
            argument = work.pop()
            source = self._sources.get(argument)
            if source is not None:
                source.dependents -= 1
                if not source.dependents:
                    del self._sources[argument]
                continue
            task_id = argument[:_TASK]
            spec = self.specs[task_id]
            spec.dependents -= 1
            work += self._drop(task_id, spec, out)

    def _drop_if_unused(self, task_id: bytes, spec: Spec, out: list[Command]) -> None:
        self._release_all(self._drop(task_id, spec, out), out)

    def _drop(self, task_id: bytes, spec: Spec, out: list[Command]) -> tuple[bytes, ...]:
        """Forget a task that nobody can ask for; returns the arguments that it does not need any more."""
        if spec.live or spec.dependents or self.specs.get(task_id) is not spec:
            return ()
        del self.specs[task_id]
        if spec.kept and spec.withheld is None:
            out.append(Release(task_id))
        return self._strip(task_id, spec)

    def _strip(self, task_id: bytes, spec: Spec) -> tuple[bytes, ...]:
        arguments, spec.arguments = spec.arguments, ()
        self._evictable.pop(task_id, None)
        self._count(spec, -spec.size)
        return arguments

    def _withhold(self, task_id: bytes, spec: Spec, reason: Reason, out: list[Command]) -> None:
        if spec.withheld is None:
            spec.withheld = reason
            out.append(Release(task_id))
            self._release_all(self._strip(task_id, spec), out)

    def _count(self, spec: Spec, more: int) -> None:
        spec.size += more
        self.bytes += more

    def _evict(self, out: list[Command]) -> None:
        while self.bytes > self.limit and self._evictable:
            task_id = next(iter(self._evictable))
            self._withhold(task_id, self.specs[task_id], Reason.LINEAGE_EVICTED, out)
