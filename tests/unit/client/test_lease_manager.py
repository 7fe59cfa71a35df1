"""The lease manager: single behaviours, and a model that sees every task wherever it is."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ray._runtime.lease_demand import HOME, Place
from ray._runtime.lease_manager import (
    MAX_BACKLOG,
    AskLeases,
    CancelLeases,
    Command,
    EndCancelled,
    IdleTimer,
    Lease,
    LeaseManager,
    Push,
    ReturnLease,
    SchedulingKey,
    WantTimer,
)
from ray._runtime.task_record import TaskRecord, Timing

ELSEWHERE = Place(b"raylet-b", 1, "host:1")
FURTHER = Place(b"raylet-c", 2, "host:2")


def a_task(number: int, timing: Timing | None = None) -> TaskRecord:
    return TaskRecord(number.to_bytes(24, "little"), f"t{number}", 1, None, None, timing or Timing(), 3)


def fast() -> Timing:
    timing = Timing()
    timing.ran(10)
    return timing


def granted(manager: LeaseManager, key: SchedulingKey, lease_id: bytes = b"l1") -> Lease:
    manager.granted(key, lease_id, None)
    lease = manager.lease(lease_id)
    assert lease is not None
    return lease


def kinds(commands: Iterable[Command] | None) -> list[type]:
    return [type(command) for command in commands or ()]


def test_the_first_task_of_a_key_asks_for_a_worker() -> None:
    manager = LeaseManager()
    key = manager.new_key("demand")
    assert manager.submit(key, a_task(1)) == [AskLeases(key, 1)]


def test_demand_is_asked_again_only_when_it_doubled() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    manager.submit(key, a_task(1))
    for number in (2, 3):
        manager.submit(key, a_task(number))
    assert manager.assign(key) == [AskLeases(key, 3)]
    manager.submit(key, a_task(4))
    assert manager.assign(key) == []


def test_one_request_names_at_most_the_backlog_limit() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    for number in range(MAX_BACKLOG + 10):
        manager.submit(key, a_task(number))
    assert manager.assign(key) == [AskLeases(key, MAX_BACKLOG)]


def test_an_idle_lease_takes_a_task_at_once_and_a_timer_from_before_starts_anew() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    lease = granted(manager, key)
    mark = lease.idle_mark
    task = a_task(1)
    assert manager.submit(key, task) == (Push(lease, [task]),)
    assert manager.finished(lease.lease_id, [task.task_id]) == [], "the first timer still runs; a second is not set"
    [again] = manager.lease_idle(lease, mark)
    assert again == IdleTimer(lease, lease.idle_mark), "it was used since: the idle time begins anew"
    assert manager.lease_idle(lease, lease.idle_mark) == [ReturnLease(lease)]
    assert manager.lease(lease.lease_id) is None


def test_a_timer_that_ends_while_a_task_runs_is_set_again_when_the_lease_is_idle() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    lease = granted(manager, key)
    task = a_task(1)
    manager.submit(key, task)
    assert manager.lease_idle(lease, lease.idle_mark - 1) == []
    assert manager.finished(lease.lease_id, [task.task_id]) == [IdleTimer(lease, lease.idle_mark)]


def test_an_unknown_function_goes_one_at_a_time() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    lease = granted(manager, key)
    for number in range(5):
        manager.submit(key, a_task(number))
    manager.assign(key)
    assert len(lease.in_flight) == 1 and len(key.queue) == 4


def test_short_tasks_are_spread_evenly_over_the_leases() -> None:
    manager = LeaseManager()
    key, timing = manager.new_key(None), fast()
    first, second = granted(manager, key, b"l1"), granted(manager, key, b"l2")
    for number in range(100):
        manager.submit(key, a_task(number, timing))
    manager.assign(key)
    assert (len(first.in_flight), len(second.in_flight)) == (50, 50)


def test_a_long_task_behind_short_ones_waits_for_an_empty_worker() -> None:
    manager = LeaseManager()
    key, slow = manager.new_key(None), Timing()
    lease = granted(manager, key)
    tasks = [a_task(0, fast()), a_task(1, fast()), a_task(2, slow)]
    for task in tasks:
        manager.submit(key, task)
    manager.assign(key)
    assert list(lease.in_flight) == [tasks[0].task_id, tasks[1].task_id]
    commands = manager.finished(lease.lease_id, [tasks[0].task_id, tasks[1].task_id])
    assert Push(lease, [tasks[2]]) in commands


def test_handed_back_tasks_go_first_and_in_their_old_order() -> None:
    manager = LeaseManager()
    key, timing = manager.new_key(None), fast()
    lease = granted(manager, key)
    tasks = [a_task(number, timing) for number in range(6)]
    for task in tasks[:4]:
        manager.submit(key, task)
    manager.assign(key)
    for task in tasks[4:]:
        key.queue.append(task)
    back = [task.task_id for task in tasks[1:4]]
    commands = manager.handed_back(lease.lease_id, back)
    assert list(key.queue) == tasks[1:]
    assert Push not in kinds(commands), "the worker still runs the task that made it hand back"
    assert AskLeases in kinds(commands)


def test_what_ends_has_its_idle_leases_returned_and_no_others() -> None:
    manager = LeaseManager()
    key, other = manager.new_key(None), manager.new_key(None)
    leases = [granted(manager, key, b"l1"), granted(manager, key, b"l2")]
    kept = granted(manager, other, b"l3")
    manager.submit(key, a_task(1))
    (idle,) = [lease for lease in leases if not lease.in_flight]
    assert manager.give_back_idle(key) == [ReturnLease(idle)]
    assert idle.gone and not kept.gone
    assert manager.give_back_idle(key) == []


def test_a_key_that_waits_has_the_idle_leases_of_others_returned_after_a_moment() -> None:
    manager = LeaseManager()
    key, other, third = manager.new_key(None), manager.new_key(None), manager.new_key(None)
    idle, busy = granted(manager, other, b"l1"), granted(manager, third, b"l2")
    manager.submit(third, a_task(1))
    task = a_task(2)
    assert manager.submit(key, task) == [AskLeases(key, 1), WantTimer(key)]
    manager.refused(key)
    assert manager.still_wanted(key) == [], "it does not wait any more"
    assert manager.submit(key, a_task(3)) == [AskLeases(key, 1), WantTimer(key)]
    assert manager.still_wanted(key) == [ReturnLease(idle)]
    assert idle.gone and not busy.gone
    manager.granted(key, b"l3", None)
    assert manager.still_wanted(key) == [], "its own serves it"


def test_a_key_alone_waits_for_no_lease_of_its_own_process() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    granted(manager, key)
    manager.submit(key, a_task(1))
    manager.submit(key, a_task(2))
    assert kinds(manager.assign(key)) == [AskLeases]


def test_short_returns_idle_leases_and_lets_busy_ones_drain() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    idle, busy = granted(manager, key, b"l1"), granted(manager, key, b"l2")
    running = a_task(1)
    manager.submit(key, running)
    if not busy.in_flight:
        idle, busy = busy, idle
    assert manager.short() == [ReturnLease(idle)]
    waiting = a_task(2)
    manager.submit(key, waiting)
    assert manager.assign(key) == [AskLeases(key, 1)]
    commands = manager.finished(busy.lease_id, [running.task_id])
    assert ReturnLease(busy) in commands and Push not in kinds(commands)
    assert list(key.queue) == [waiting]


def test_a_late_grant_for_a_cancelled_request_is_given_back() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    lease = granted(manager, key)
    manager.submit(key, a_task(1))
    late = granted(manager, key, b"late")
    assert manager.lease_idle(late, late.idle_mark) == [ReturnLease(late)]
    assert lease.in_flight and not lease.gone


def test_news_of_a_dead_worker_give_back_what_it_held_oldest_first() -> None:
    manager = LeaseManager()
    key, timing = manager.new_key(None), fast()
    granted(manager, key)
    tasks = [a_task(number, timing) for number in range(3)]
    for task in tasks:
        manager.submit(key, task)
    manager.assign(key)
    lost, of = manager.worker_gone(b"l1")
    assert (lost, of) == (tasks, key)
    assert manager.worker_gone(b"l1") == ([], None)
    assert manager.requeue(key, lost) == [AskLeases(key, 3)]
    assert list(key.queue) == tasks


def test_a_spillback_asks_there_for_no_more_than_waits() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    manager.submit(key, a_task(1))
    assert manager.spilled(key, HOME, ELSEWHERE, 5) == [AskLeases(key, 1, ELSEWHERE)]
    assert manager.assign(key) == []
    assert manager.raylet_gone(ELSEWHERE.node_id) == [AskLeases(key, 1)]


def test_units_that_are_sent_to_one_raylet_in_turn_add_up_there() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    for number in range(6):
        key.queue.append(a_task(number))
    manager.assign(key)
    assert manager.spilled(key, HOME, ELSEWHERE, 2) == [AskLeases(key, 2, ELSEWHERE)]
    assert manager.spilled(key, HOME, ELSEWHERE, 3) == [AskLeases(key, 5, ELSEWHERE)]
    manager.granted(key, b"l1", None, ELSEWHERE)
    assert key.asked.at(ELSEWHERE) == 4 and key.asked.at(HOME) == 1
    assert manager.spilled(key, ELSEWHERE, FURTHER, 1) == [AskLeases(key, 1, FURTHER)]
    assert key.asked.at(ELSEWHERE) == 3 and key.asked.total == 5


def test_tasks_that_are_spread_each_get_a_lease_of_their_own() -> None:
    manager = LeaseManager()
    key = manager.new_key(None, one_each=True)
    tasks = [a_task(number, fast()) for number in range(3)]
    key.queue.extend(tasks)
    assert manager.assign(key) == [AskLeases(key, 3)]
    lease = granted(manager, key)
    assert list(lease.in_flight) == [tasks[0].task_id]
    assert manager.finished(lease.lease_id, [tasks[0].task_id]) == [ReturnLease(lease)]
    assert list(key.queue) == tasks[1:] and key.asked.total == 2
    late = a_task(9)
    key.queue.clear()
    lease = granted(manager, key, b"l2")
    manager.submit(key, late)
    assert ReturnLease(lease) in manager.finished(lease.lease_id, [late.task_id])


def test_a_cancel_goes_to_every_raylet_that_was_asked() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    key.queue.extend(a_task(number) for number in range(2))
    manager.assign(key)
    manager.spilled(key, HOME, ELSEWHERE, 1)
    key.queue.clear()
    assert manager.assign(key) == [CancelLeases(key, (b"", ELSEWHERE.node_id))]
    assert key.asked.total == 0


def test_a_refusal_empties_the_queue_and_a_later_task_asks_again() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    tasks = [a_task(1), a_task(2)]
    for task in tasks:
        manager.submit(key, task)
    assert manager.refused(key) == (tasks, [CancelLeases(key, (b"",))])
    assert manager.submit(key, a_task(3)) == [AskLeases(key, 1)]


def test_a_cancelled_task_never_leaves() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    task = a_task(1)
    manager.submit(key, task)
    task.cancelled = True
    lease = granted(manager, key)
    assert not lease.in_flight and not key.queue


def test_news_of_an_unknown_lease_change_nothing() -> None:
    manager = LeaseManager()
    assert manager.finished(b"?", [b"t"]) == [] and manager.handed_back(b"?", [b"t"]) == []


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


def test_a_task_that_waits_can_be_withdrawn_and_its_demand_with_it() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    task = a_task(1)
    manager.submit(key, task)
    assert kinds(manager.withdraw(key, task)) == [CancelLeases]
    assert manager.withdraw(key, task) == []


def test_a_cancelled_task_that_comes_back_ends_instead_of_waiting() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    tasks = [a_task(number, fast()) for number in range(3)]
    for task in tasks:
        manager.submit(key, task)
    lease = granted(manager, key)
    tasks[1].cancelled = True
    commands = manager.handed_back(lease.lease_id, [tasks[1].task_id, tasks[2].task_id])
    assert commands[0] == EndCancelled([tasks[1]])
    tasks[0].cancelled = True
    manager.worker_gone(lease.lease_id)
    assert manager.requeue(key, [tasks[0]])[0] == EndCancelled([tasks[0]])
    assert tasks[0] not in key.queue
