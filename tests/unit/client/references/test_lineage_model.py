"""Lineage under any sequence of events: nothing lost stays without a verdict, and nothing is kept for nobody.

The world below is an owner with tasks, puts and arenas. It does what the commands say, as recovery.py does, and knows
by itself what can still be asked for and what can be computed.

Items of generators come one by one, while their task runs and the program drops those before; a worker that dies makes
another attempt of the same run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ray._runtime.references.lineage import Command, Fail, Lineage, Reason, Release, Rerun, Revive

SIZE = 100


@dataclass
class Object:
    """One that is owned: referenced by the program, by unfinished tasks, or not at all any more."""

    state: str = "pending"  # pending, stored, failed
    refs: int = 1
    lost_for: Reason | None = None


@dataclass
class Task:
    id: bytes
    arguments: tuple[bytes, ...]
    returns: tuple[bytes, ...]
    retries: int
    generator: bool = False
    running: bool = True
    # The owner has the specification, which a Release gives back.
    kept: bool = False
    # It was kept once.
    once_kept: bool = False
    attempts: int = 0
    runs: int = 0
    held: set[bytes] = field(default_factory=set)

    def may_run_again(self) -> bool:
        return self.once_kept or bool(self.retries) or bool(self.attempts)


class Owner(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lineage = Lineage(limit=6 * SIZE)
        self.objects: dict[bytes, Object] = {}
        self.tasks: dict[bytes, Task] = {}
        self.serial = 0

    # -- what recovery.py does

    def perform(self, commands: object) -> None:
        revived: list[bytes] = []
        assert isinstance(commands, list | tuple)
        for command in commands:
            self.perform_one(command, revived)
        for object_id in revived:
            self.drop(object_id)

    def perform_one(self, command: Command, revived: list[bytes]) -> None:
        if isinstance(command, Revive):
            assert command.object_id not in self.objects, "only what was freed is owned again"
            self.objects[command.object_id] = Object()
            revived.append(command.object_id)
        elif isinstance(command, Rerun):
            task = self.tasks[command.task_id]
            assert not task.running, "no task runs twice at once"
            assert task.kept and task.retries != 0
            task.running = True
            task.retries -= 1
            task.attempts += 1
            for argument in task.arguments:
                self.objects[argument].refs += 1  # a KeyError: it takes what is gone
        elif isinstance(command, Fail):
            lost = self.objects[command.object_id]
            assert lost.state == "pending"
            assert self.is_hopeless(command.object_id), "it could have been computed"
            lost.state, lost.lost_for = "failed", command.reason
        elif isinstance(command, Release):
            task = self.tasks[command.task_id]
            assert task.kept, "only what is kept can be let go"
            task.kept = False
            held, task.held = task.held, set()
            for object_id in held:
                self.drop(object_id)

    def drop(self, object_id: bytes) -> None:
        entry = self.objects[object_id]
        entry.refs -= 1
        if not entry.refs:
            del self.objects[object_id]
            self.perform(self.lineage.freed(object_id))

    def finish(self, task: Task, stored: bool) -> None:
        task.running = False
        task.runs += 1
        ended = set()
        for object_id in task.returns:
            entry = self.objects.get(object_id)
            # Items come ahead of the end; of those that did not, an error takes the place, or another run.
            if entry is not None and entry.state == "pending" and not (task.generator and stored):
                entry.state = "stored" if stored else "failed"
                ended.add(object_id)
        here = [object_id for object_id in task.returns if object_id in ended and stored]
        if (here or task.once_kept or task.id in self.lineage.specs) and task.may_run_again():
            for object_id in ended.difference(here):
                self.lineage.made(object_id)
            held = {argument for argument in task.arguments if not self.lineage.makes(argument)}
            before, task.held = task.held, held
            for object_id in held:
                self.objects[object_id].refs += 1
            task.kept = task.once_kept = True
            reasons = dict.fromkeys(task.arguments, Reason.PUT)
            self.perform(self.lineage.finished(task.id, here, reasons, SIZE, task.retries))
            for object_id in before:
                self.drop(object_id)
        for argument in task.arguments:
            self.drop(argument)

    def make_item(self, task: Task, object_id: bytes, stored: bool) -> None:
        self.objects[object_id].state = "stored" if stored else "failed"
        if not stored:
            self.lineage.made(object_id)
        elif task.may_run_again():
            self.lineage.item_stored(task.id, object_id)

    # -- what the world knows

    def is_hopeless(self, object_id: bytes) -> bool:
        """Whether no kept task leads to the object any more."""
        seen: set[bytes] = set()
        stack = [object_id]
        while stack:
            current = stack.pop()
            if current in seen:
                continue
            seen.add(current)
            entry = self.objects.get(current)
            if entry is not None and entry.state == "stored":
                continue
            task = self.tasks.get(current[:24])
            if task is None:
                return True
            if task.running and task.may_run_again():
                continue
            if not task.kept or not task.retries:
                return True
            stack += task.arguments
        return False

    def ready_to_end(self) -> list[Task]:
        return [
            task
            for task in self.tasks.values()
            if task.running and all(self.objects[argument].state != "pending" for argument in task.arguments)
        ]

    # -- events

    @rule(
        arguments=st.lists(st.integers(0, 30), max_size=3),
        returns=st.integers(1, 2),
        retries=st.sampled_from((0, 1, 2, -1)),
    )
    def submit(self, arguments: list[int], returns: int, retries: int) -> None:
        usable = sorted(self.objects)
        taken = tuple(dict.fromkeys(usable[number % len(usable)] for number in arguments)) if usable else ()
        self.serial += 1
        task_id = self.serial.to_bytes(24, "big")
        made = tuple(task_id + index.to_bytes(4, "little") for index in range(1, returns + 1))
        self.tasks[task_id] = Task(task_id, taken, made, retries)
        for argument in taken:
            self.objects[argument].refs += 1
        for object_id in made:
            self.objects[object_id] = Object()

    @rule(arguments=st.lists(st.integers(0, 30), max_size=2), retries=st.sampled_from((0, 1, 2, -1)))
    def call_generator(self, arguments: list[int], retries: int) -> None:
        usable = sorted(self.objects)
        taken = tuple(dict.fromkeys(usable[number % len(usable)] for number in arguments)) if usable else ()
        self.serial += 1
        task_id = self.serial.to_bytes(24, "big")
        self.tasks[task_id] = Task(task_id, taken, (), retries, generator=True)
        for argument in taken:
            self.objects[argument].refs += 1

    def generators(self) -> list[Task]:
        return [task for task in self.ready_to_end() if task.generator]

    @precondition(lambda self: self.generators())
    @rule(number=st.integers(0, 30), stored=st.sampled_from((True, True, True, False)), read=st.booleans())
    def yield_item(self, number: int, stored: bool, read: bool) -> None:
        """An item comes: a new one, or in a further run one that was lost. read: and is read and dropped at once."""
        generators = self.generators()
        task = generators[number % len(generators)]
        lost = [one for one in task.returns if one in self.objects and self.objects[one].state == "pending"]
        if lost:
            object_id = lost[number % len(lost)]
        elif not task.runs:
            object_id = task.id + (len(task.returns) + 2).to_bytes(4, "little")
            task.returns += (object_id,)
            self.objects[object_id] = Object()
        else:
            return
        self.make_item(task, object_id, stored)
        if read and self.program_refs(object_id) > 0:
            self.drop(object_id)

    @precondition(lambda self: any(task.retries for task in self.generators()))
    @rule(number=st.integers(0, 30))
    def lose_the_worker(self, number: int) -> None:
        """Another attempt of the same run goes on where the dead one ended."""
        generators = [task for task in self.generators() if task.retries]
        task = generators[number % len(generators)]
        task.retries -= 1
        task.attempts += 1

    @rule()
    def put(self) -> None:
        self.serial += 1
        self.objects[self.serial.to_bytes(24, "big") + b"\0\0\0\x80"] = Object("stored")

    @precondition(lambda self: self.ready_to_end())
    @rule(number=st.integers(0, 30), stored=st.sampled_from((True, True, True, False)))
    def end(self, number: int, stored: bool) -> None:
        ready = self.ready_to_end()
        task = ready[number % len(ready)]
        failed = any(self.objects[argument].state == "failed" for argument in task.arguments)
        self.finish(task, stored and not failed)

    def end_all(self) -> None:
        while ready := self.ready_to_end():
            task = ready[0]
            for object_id in task.returns if task.generator else ():
                if object_id in self.objects and self.objects[object_id].state == "pending":
                    self.make_item(task, object_id, True)
            self.finish(task, True)

    @precondition(lambda self: any(entry.refs for entry in self.objects.values()))
    @rule(number=st.integers(0, 60))
    def forget(self, number: int) -> None:
        """The program drops a reference, if it has one."""
        mine = [object_id for object_id in sorted(self.objects) if self.program_refs(object_id) > 0]
        if mine:
            self.drop(mine[number % len(mine)])

    def program_refs(self, object_id: bytes) -> int:
        tasks = self.tasks.values()
        others = sum((task.running and object_id in task.arguments) + (object_id in task.held) for task in tasks)
        return self.objects[object_id].refs - others

    @rule(numbers=st.lists(st.integers(0, 60), min_size=1, max_size=6))
    def lose(self, numbers: list[int]) -> None:
        """A node dies with the only copies of some objects."""
        stored = [object_id for object_id in sorted(self.objects) if self.objects[object_id].state == "stored"]
        for number in numbers if stored else ():
            object_id = stored[number % len(stored)]
            entry = self.objects.get(object_id)
            if entry is not None and entry.state == "stored":
                entry.state = "pending"
                reason = Reason.RETRIES_DISABLED if object_id[:24] in self.tasks else Reason.PUT
                self.perform(self.lineage.lost(object_id, reason))

    # -- what always holds

    @invariant()
    def what_is_lost_is_being_made(self) -> None:
        for object_id, entry in self.objects.items():
            if entry.state == "pending":
                assert self.tasks[object_id[:24]].running, f"{object_id.hex()} waits for nobody"

    @invariant()
    def every_wait_ends(self) -> None:
        assert self.ready_to_end() or not any(task.running for task in self.tasks.values())

    @invariant()
    def nothing_is_kept_for_what_nobody_can_ask_for(self) -> None:
        wanted: set[bytes] = set()
        stack = [object_id for object_id, entry in self.objects.items() if entry.state != "failed"]
        seen: set[bytes] = set()
        while stack:
            task_id = stack.pop()[:24]
            if task_id not in seen and task_id in self.lineage.specs:
                seen.add(task_id)
                wanted.add(task_id)
                stack += self.lineage.specs[task_id].arguments
        assert {task_id for task_id in self.lineage.specs if not self.tasks[task_id].running} <= wanted
        assert {task.id for task in self.tasks.values() if task.kept} <= set(self.lineage.specs) | {
            task.id for task in self.tasks.values() if task.running
        }

    @invariant()
    def the_limit_holds(self) -> None:
        at_rest = [task for task in self.tasks.values() if task.kept and not task.running]
        assert self.lineage.bytes <= self.lineage.limit or not at_rest
        assert self.lineage.bytes == sum(spec.size for spec in self.lineage.specs.values())

    def teardown(self) -> None:
        self.end_all()
        for object_id in sorted(self.objects):
            while object_id in self.objects and self.program_refs(object_id) > 0:
                self.drop(object_id)
        self.end_all()
        assert not self.objects and not self.lineage.specs
        assert not self.lineage.bytes and not self.lineage._sources and not self.lineage._evictable


TestOwner = Owner.TestCase
TestOwner.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
