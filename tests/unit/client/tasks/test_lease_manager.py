"""The lease manager: single behaviours. For a model of it, see test_lease_model.py."""

from __future__ import annotations

from collections.abc import Iterable

from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks.lease_demand import HOME, Place
from ray._runtime.tasks.lease_manager import (
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


def test_a_key_that_nothing_waits_for_is_forgotten_and_known_again_once_it_asks() -> None:
    manager = LeaseManager()
    key = manager.new_key(None)
    manager.submit(key, a_task(1))
    assert not manager.forget(key), "a worker is asked for"
    lease = granted(manager, key)
    assert not manager.forget(key), "it holds a lease"
    manager.finished(lease.lease_id, [a_task(1).task_id])
    manager.lease_idle(lease, lease.idle_mark)
    assert manager.forget(key)
    assert manager.key_of(key.request_id) is None and list(manager.keys()) == []
    assert manager.submit(key, a_task(2)) == [AskLeases(key, 1)]
    assert manager.key_of(key.request_id) is key
