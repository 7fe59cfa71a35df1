"""What a process tells about tasks: in columns what is over, one by one what goes on."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.references.lineage import Lineage
from ray._runtime.specs.task_kind import TaskKind
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks import task_events
from ray._runtime.tasks.task_events import TaskEvents
from ray._runtime.transport.carrier import Peer
from ray._runtime.values.system_errors import worker_crashed

OWN_ID = b"d" * 24
KIND = TaskKind(task_pb2.TaskKind(name="f", function="f"))
WORKER = Peer(b"w" * 28, b"n" * 28, lambda peer: None)
WORKER.pid = 7
DONE = worker_pb2.TaskReply(execution_us=12)


class Teller:
    """A process of which only that exists that TaskEvents uses; `told` are the messages that left it."""

    def __init__(self) -> None:
        self.told: list[task_pb2.TaskEvents] = []
        self.timers: list[Any] = []
        self.running: list[Any] = []
        self.ids = SimpleNamespace(own=OWN_ID)
        self.is_driver = True
        self.lock = threading.Lock()
        self.closing = False
        self.recovery = SimpleNamespace(lineage=Lineage())
        self.reactor = SimpleNamespace(
            call_later=lambda _delay, call: self.timers.append(call), call_soon=lambda call: self.timers.append(call)
        )
        self.submitter = SimpleNamespace(pending={})
        self.executor = SimpleNamespace(look=lambda: self.running)
        self.identity = SimpleNamespace(address=lambda: common_pb2.WorkerAddress(worker_id=b"o" * 28))
        self.raylet = SimpleNamespace(send=lambda _kind, raw: self.told.append(task_pb2.TaskEvents.FromString(raw)))
        self.events = TaskEvents(self)  # type: ignore[arg-type]

    def submit(self, number: int, kind: TaskKind | None = KIND) -> TaskRecord:
        record = TaskRecord(number.to_bytes(24, "big"), "f", 1, None, None, Timing(), 3)
        self.events.begun(record, kind)
        self.submitter.pending[record.task_id] = record
        return record

    def send(self, record: TaskRecord) -> None:
        record.message, record.lease_id = b"task", b"lease"
        record.sent_to, record.sent_at = WORKER, 5.0

    def end(self, record: TaskRecord, reply: worker_pb2.TaskReply = DONE) -> None:
        del self.submitter.pending[record.task_id]
        if record.kind is not None:
            self.events.ended(record, reply)

    def time_passes(self) -> task_pb2.TaskEvents | None:
        """Run the timers; what was told, if anything."""
        timers, self.timers = self.timers, []
        for timer in timers:
            timer()
        return self.told.pop() if self.told else None


@pytest.fixture
def teller() -> Teller:
    return Teller()


def test_tasks_that_are_over_within_the_interval_are_told_in_columns(teller: Teller) -> None:
    for number in range(3):
        record = teller.submit(number)
        teller.send(record)
        teller.end(record)
    told = teller.time_passes()
    assert told is not None
    (group,) = told.finished
    assert group.task_ids == b"".join(number.to_bytes(24, "big") for number in range(3))
    assert group.parent_ids == OWN_ID
    assert (list(group.execution_us), list(group.sent_at)) == ([12] * 3, [5.0] * 3)
    assert (group.worker.worker_id, group.worker_pid, group.told) == (WORKER.worker_id, 7, False)
    assert list(told.live) == []
    assert teller.timers == [], "nothing goes on, so nobody looks again"


def test_a_task_that_goes_on_is_told_once_for_each_state(teller: Teller) -> None:
    record = teller.submit(1)
    assert _states(teller.time_passes()) == [task_pb2.PENDING_ARGS_AVAIL]
    record.message = b"task"
    assert _states(teller.time_passes()) == [task_pb2.PENDING_NODE_ASSIGNMENT]
    assert teller.time_passes() is None
    teller.send(record)
    assert _states(teller.time_passes()) == [task_pb2.SUBMITTED_TO_WORKER]
    teller.end(record)
    told = teller.time_passes()
    assert told is not None
    assert [group.told for group in told.finished] == [True]


def test_an_actors_call_that_was_sent_waits_for_its_turn_until_its_worker_says_more(teller: Teller) -> None:
    record = teller.submit(1)
    record.actor_id = b"a" * 16
    assert _states(teller.time_passes()) == [task_pb2.PENDING_ARGS_AVAIL]
    record.message, record.sent_at, record.sent_to = b"task", 5.0, WORKER
    told = teller.time_passes()
    assert _states(told) == [task_pb2.PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY]
    assert told is not None and told.live[0].worker.worker_id == WORKER.worker_id


def test_the_first_tasks_that_take_a_moment_are_told_of_before_the_interval_is_over(teller: Teller) -> None:
    for number in range(3):
        teller.submit(number).created_at -= 1.0 if number < 2 else 0.0
    _interval, early = teller.timers
    early()
    told = teller.told.pop()
    assert [(int.from_bytes(task.task_id, "big"), task.status) for task in told.live] == [
        (0, task_pb2.PENDING_ARGS_AVAIL),
        (1, task_pb2.PENDING_ARGS_AVAIL),
    ]
    assert [kind.name for kind in told.kinds] == ["f"]
    early()
    assert teller.told == []
    # The interval goes on as ever, and while it does nobody looks early.
    assert _states(teller.time_passes()) == [task_pb2.PENDING_ARGS_AVAIL]
    assert len(teller.timers) == 1


def test_a_task_is_told_of_with_its_call_site_where_that_is_asked_for(teller: Teller) -> None:
    assert teller.events.call_site() == ""
    teller.events.record_call_sites()
    teller.submit(1)
    told = teller.time_passes()
    assert told is not None
    assert "test_task_events.py" in told.kinds[0].call_site
    assert "test_task_events.py" in teller.events.call_site()


def test_nothing_is_told_of_a_task_without_a_kind(teller: Teller) -> None:
    teller.end(teller.submit(1, kind=None))
    assert teller.time_passes() is None


def test_an_interval_of_0_turns_telling_off(teller: Teller) -> None:
    record = teller.submit(1)
    teller.events.set_interval(0)
    assert not teller.events.wanted
    teller.end(record)
    assert teller.time_passes() is None


def test_an_error_is_told_with_its_type_and_text(teller: Teller) -> None:
    raised = teller.submit(1)
    teller.end(raised, worker_pb2.TaskReply(outcome=worker_pb2.TaskReply.RAISED, message="ValueError: no"))
    crashed = teller.submit(2)
    cause = common_pb2.DeathCause(message="killed by the test", exit_code=-9)
    del teller.submitter.pending[crashed.task_id]
    teller.events.failed(crashed, worker_crashed("f", cause))
    told = teller.time_passes()
    assert told is not None
    assert [(group.error_type, group.status) for group in told.finished] == [
        ("TASK_EXECUTION_EXCEPTION", task_pb2.FAILED),
        ("WORKER_DIED", task_pb2.FAILED),
    ]
    assert told.finished[0].error_message == "ValueError: no"
    assert "killed by the test" in told.finished[1].error_message


def test_each_attempt_is_told_of(teller: Teller) -> None:
    record = teller.submit(1)
    teller.time_passes()
    teller.events.retried(record, message="again")
    record.next_attempt()
    told = teller.time_passes()
    assert told is not None
    assert [(group.told, list(group.attempts)) for group in told.finished] == [(True, [])]
    assert [task.attempt for task in told.live] == [1]


def test_rows_are_told_before_their_time_and_dropped_when_nobody_tells(
    teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_events, "GROUP_LIMIT", 10)
    monkeypatch.setattr(task_events, "ROWS_LIMIT", 20)
    for number in range(50):
        teller.end(teller.submit(number))
    assert len(teller.timers) == 3, "the timer, the early look, and a call before its time"
    told = teller.time_passes() or teller.time_passes()
    assert told is not None
    rows = sum(len(group.task_ids) // 24 for group in told.finished)
    assert rows + told.dropped == 50
    assert 0 < told.dropped <= 20


def test_what_goes_on_is_told_again_to_a_gcs_that_knows_nothing(teller: Teller) -> None:
    teller.submit(1)
    teller.time_passes()
    assert teller.time_passes() is None
    teller.events.tell_again()
    assert _states(teller.time_passes()) == [task_pb2.PENDING_ARGS_AVAIL]


def test_calls_that_run_for_long_are_told_of_once(teller: Teller) -> None:
    task = worker_pb2.Task(task_id=b"t" * 24, attempt=1)
    teller.running = [(SimpleNamespace(task=task, started_at=1.0), False)]
    teller.events.look_later()
    told = teller.time_passes()
    assert told is not None
    assert [(running.status, running.attempt) for running in told.running] == [(task_pb2.RUNNING, 1)]
    assert teller.time_passes() is None
    teller.running = [(teller.running[0][0], True)]
    told = teller.time_passes()
    assert told is not None
    assert [running.status for running in told.running] == [task_pb2.RUNNING_IN_RAY_GET]
    teller.running = []
    teller.time_passes()
    assert teller.timers == []


def _states(told: task_pb2.TaskEvents | None) -> list[int]:
    assert told is not None
    return [task.status for task in told.live]


def test_what_was_computed_again_is_told_once_as_a_difference() -> None:
    teller = Teller()
    for reruns, failures in ((3, 1), (3, 1), (5, 1)):
        teller.recovery.lineage.reruns, teller.recovery.lineage.failures = reruns, failures
        teller.events.tell()
    assert [(one.reconstructed, one.unrecovered) for one in teller.told] == [(3, 1), (2, 0)]
