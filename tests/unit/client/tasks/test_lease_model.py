"""The lease manager in any order of events: a model that sees every task wherever it is."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks.lease_demand import HOME, Place
from ray._runtime.tasks.lease_manager import (
    AskLeases,
    CancelLeases,
    Command,
    IdleTimer,
    LeaseManager,
    Push,
    ReturnLease,
    SchedulingKey,
    WantTimer,
)

from tests.unit.client.tasks.test_lease_manager import ELSEWHERE, FURTHER, a_task, fast


class Model(RuleBasedStateMachine):
    """Every task is queued, on one lease, or done; the commands account for each move."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = LeaseManager()
        self.timings = [Timing(), fast(), Timing()]
        self.timings[2].ran(400)
        self.keys = [self.manager.new_key(number) for number in range(2)]
        self.where: dict[bytes, bytes | None] = {}  # task -> lease; None: in the queue
        self.tasks: dict[bytes, TaskRecord] = {}
        self.key_of: dict[bytes, SchedulingKey] = {}
        # What each raylet believes is wanted of it.
        self.asked: dict[int, dict[tuple[bytes, int], int]] = {key.request_id: {} for key in self.keys}
        self.timers: list[IdleTimer] = []
        self.want_timers: list[WantTimer] = []
        self.drained: set[bytes] = set()
        self.returned: set[bytes] = set()
        self.unsaid: set[int] = set()  # keys whose submitted tasks wait for the flusher's assign
        self.number = 0

    def perform(self, commands: Iterable[Command] | None) -> None:
        for command in commands or ():
            if isinstance(command, Push):
                assert command.tasks, "a push carries something"
                lease = command.lease
                assert lease.lease_id not in self.returned, "nothing goes to a returned worker"
                assert lease.lease_id not in self.drained, "nothing new goes to a draining worker"
                before = sum(1 for at in self.where.values() if at == lease.lease_id)
                for task in command.tasks:
                    assert self.where[task.task_id] is None, "pushed twice"
                    assert self.key_of[task.task_id] is lease.key
                    assert before == 0 or before < task.timing.window, "beyond the task's window"
                    self.where[task.task_id] = lease.lease_id
                    before += 1
                held = [self.tasks[t].timing.window for t, at in self.where.items() if at == lease.lease_id]
                assert before == 1 or before <= min(held), "beyond the window of a task that was there"
            elif isinstance(command, AskLeases):
                assert command.wanted > 0
                self.asked[command.key.request_id][command.place[:2]] = command.wanted
            elif isinstance(command, CancelLeases):
                asked = self.asked[command.key.request_id]
                assert {place[0] for place in asked} == set(command.node_ids)
                asked.clear()
            elif isinstance(command, ReturnLease):
                lease_id = command.lease.lease_id
                assert lease_id not in self.returned, "returned twice"
                assert lease_id not in self.where.values(), "a lease went back with tasks on it"
                self.returned.add(lease_id)
            elif isinstance(command, WantTimer):
                self.want_timers.append(command)
            else:
                self.timers.append(command)

    def held(self) -> list[bytes]:
        return [lease.lease_id for lease in self.manager.leases()]

    def on(self, lease_id: bytes) -> list[bytes]:
        lease = self.manager.lease(lease_id)
        assert lease is not None
        return list(lease.in_flight)

    @rule(which=st.integers(0, 1), timing=st.integers(0, 2), count=st.integers(1, 12))
    def submit(self, which: int, timing: int, count: int) -> None:
        key = self.keys[which]
        for _ in range(count):
            self.number += 1
            task = a_task(self.number, self.timings[timing])
            self.where[task.task_id] = None
            self.tasks[task.task_id] = task
            self.key_of[task.task_id] = key
            commands = self.manager.submit(key, task)
            self.perform(commands)
            if commands is None:
                self.unsaid.add(which)

    @rule()
    def flush(self) -> None:
        for which in self.unsaid:
            self.perform(self.manager.assign(self.keys[which]))
        self.unsaid.clear()

    @rule(which=st.integers(0, 1))
    def grant(self, which: int) -> None:
        key = self.keys[which]
        self.number += 1
        place = self.less(key, 1)
        self.perform(self.manager.granted(key, b"lease%d" % self.number, None, place))

    def less(self, key: SchedulingKey, count: int) -> Place:
        """A raylet that was asked does something about `count` units; or one speaks of what was cancelled."""
        asked = self.asked[key.request_id]
        where = next(iter(asked), HOME[:2])
        asked[where] = asked.get(where, 0) - count
        if asked[where] <= 0:
            del asked[where]
        return Place(*where)

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(self.held()))
        running = self.on(lease_id)
        done = running[: data.draw(st.integers(0, len(running)))]
        for task_id in done:
            del self.where[task_id]
        self.perform(self.manager.finished(lease_id, done))

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(self.held()))
        back = self.on(lease_id)[1:]
        key = None if not back else self.key_of[back[0]]
        for task_id in back:
            self.where[task_id] = None
        self.perform(self.manager.handed_back(lease_id, back))
        if key is not None:
            waiting = [task.task_id for task in key.queue if task.task_id in back]
            assert waiting == [task_id for task_id in back if task_id in waiting], "their order changed"

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(self.held()))
        lost, key = self.manager.worker_gone(lease_id)
        assert {task.task_id for task in lost} == {t for t, at in self.where.items() if at == lease_id}
        assert key is not None
        self.returned.add(lease_id)
        again = lost[::2]
        for task in lost:
            if task in again:
                self.where[task.task_id] = None
            else:
                del self.where[task.task_id]
        self.perform(self.manager.requeue(key, again))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def timer(self, data: st.DataObject) -> None:
        timer = self.timers.pop(data.draw(st.integers(0, len(self.timers) - 1)))
        self.perform(self.manager.lease_idle(timer.lease, timer.mark))

    @precondition(lambda self: self.want_timers)
    @rule(data=st.data())
    def want_timer(self, data: st.DataObject) -> None:
        key = self.want_timers.pop(data.draw(st.integers(0, len(self.want_timers) - 1))).key
        assert all(timer.key is not key for timer in self.want_timers), "two timers for one key"
        before = {lease.lease_id for lease in self.manager.leases() if lease.key is key or lease.in_flight}
        self.perform(self.manager.still_wanted(key))
        assert before <= set(self.held()), "one that works, or that serves the key, went back"

    @rule()
    def others_wait(self) -> None:
        before = set(self.held())
        commands = self.manager.short()
        self.drained |= before & set(self.held())
        self.perform(commands)

    @rule(which=st.integers(0, 1), count=st.integers(1, 4), to=st.sampled_from([ELSEWHERE, FURTHER]))
    def spill(self, which: int, count: int, to: Place) -> None:
        key = self.keys[which]
        place = self.less(key, count)
        self.perform(self.manager.spilled(key, place, to, count))

    @rule(place=st.sampled_from([ELSEWHERE, FURTHER]))
    def raylet_fails(self, place: Place) -> None:
        for asked in self.asked.values():
            asked.pop(place[:2], None)
        self.perform(self.manager.raylet_gone(place.node_id))

    @rule(which=st.integers(0, 1))
    def refuse(self, which: int) -> None:
        key = self.keys[which]
        tasks, commands = self.manager.refused(key)
        self.perform(commands)
        for task in tasks:
            del self.where[task.task_id]

    @invariant()
    def each_task_is_in_one_place(self) -> None:
        queued = [task.task_id for key in self.keys for task in key.queue]
        flying = [(task_id, lease.lease_id) for lease in self.manager.leases() for task_id in lease.in_flight]
        assert sorted(queued) == sorted(task_id for task_id, at in self.where.items() if at is None)
        assert sorted(flying) == sorted((task_id, at) for task_id, at in self.where.items() if at is not None)

    @invariant()
    def waiting_tasks_have_asked_for_workers(self) -> None:
        for which, key in enumerate(self.keys):
            asked = sum(self.asked[key.request_id].values())
            assert asked == key.asked.total
            if key.queue and which not in self.unsaid:
                assert asked > 0, "tasks wait and nobody was asked"

    @invariant()
    def nothing_is_asked_for_an_empty_queue(self) -> None:
        for which, key in enumerate(self.keys):
            if not key.queue and which not in self.unsaid:
                assert not self.asked[key.request_id]

    @invariant()
    def an_idle_lease_has_one_timer(self) -> None:
        for lease in self.manager.leases():
            timers = sum(timer.lease is lease for timer in self.timers)
            assert timers <= 1, "a timer for each task would cost more than the task"
            assert timers or lease.in_flight, "kept for ever"


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
