"""The calls of one actor: order, restarts, and a model that follows each call to its end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ray._runtime.actors.actor_calls import WINDOW, WINDOW_BYTES, ActorCalls, ActorState, Outcome
from ray._runtime.specs.task_record import TaskRecord, Timing

ACTOR = b"a" * 16


def a_call(number: int, retries: int = 0, ready: bool = True) -> TaskRecord:
    call = TaskRecord(number.to_bytes(24, "little"), f"c{number}", 1, None, None, Timing(), retries)
    call.message = b"message" if ready else b""
    return call


def calls_of(actor: ActorCalls, count: int, retries: int = 0) -> list[TaskRecord]:
    calls = [a_call(number, retries) for number in range(count)]
    for call in calls:
        actor.submit(call)
    return calls


def test_calls_wait_for_the_address_and_then_leave_in_order() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    calls = calls_of(actor, 3)
    assert actor.sendable() == []
    assert actor.alive(0).send == calls
    assert actor.pending() == 3


def test_a_call_whose_arguments_are_late_holds_up_those_behind_it() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    late, behind = a_call(1, ready=False), a_call(2)
    actor.submit(late)
    actor.submit(behind)
    assert actor.sendable() == []
    late.message = b"now"
    assert actor.sendable() == [late, behind]


def test_an_actor_that_runs_calls_side_by_side_is_not_held_up() -> None:
    actor = ActorCalls(ACTOR, in_order=False)
    actor.alive(0)
    late, behind = a_call(1, ready=False), a_call(2)
    actor.submit(late)
    actor.submit(behind)
    assert actor.sendable() == [behind]
    assert list(actor.queue) == [late]


@pytest.mark.parametrize("in_order", [True, False])
def test_what_is_sent_and_unfinished_is_bounded(in_order: bool) -> None:
    actor = ActorCalls(ACTOR, in_order)
    actor.alive(0)
    calls = calls_of(actor, 3 * WINDOW)
    assert actor.sendable() == calls[:WINDOW]
    assert actor.held_back and actor.sendable() == []
    assert actor.pending() == 3 * WINDOW
    for call in calls[:10]:
        actor.finished(call.task_id)
    assert actor.sendable() == calls[WINDOW : WINDOW + 10]
    calls[WINDOW + 10].cancelled = True
    for call in calls[10:WINDOW]:
        actor.finished(call.task_id)
    assert actor.sendable() == calls[WINDOW + 11 : 2 * WINDOW + 1]
    for call in calls[WINDOW : 2 * WINDOW + 1]:
        actor.finished(call.task_id)
    assert actor.sendable() == calls[2 * WINDOW + 1 :]
    assert not actor.held_back


@pytest.mark.parametrize("in_order", [True, False])
def test_large_calls_have_room_for_as_many_as_run_at_once(in_order: bool) -> None:
    actor = ActorCalls(ACTOR, in_order, widest=1 if in_order else 7)
    actor.alive(0)
    calls = [a_call(number) for number in range(20)]
    for call in calls:
        call.message = b"x" * (WINDOW_BYTES // 2)
        actor.submit(call)
    sent = actor.sendable()
    assert sent == calls[: 2 if in_order else 7]
    actor.finished(sent[0].task_id)
    assert actor.sendable() == calls[len(sent) : len(sent) + 1]


def test_a_group_that_waits_leaves_room_for_another() -> None:
    actor = ActorCalls(ACTOR, in_order=False)
    actor.alive(0)
    calls_of(actor, 2 * WINDOW)
    assert len(actor.sendable()) == WINDOW
    check = a_call(10 * WINDOW)
    check.group = "health"
    actor.submit(check)
    assert actor.sendable() == [check]
    assert actor.held_back


@pytest.mark.parametrize("in_order", [True, False])
def test_calls_that_wait_for_room_keep_their_place_through_a_restart(in_order: bool) -> None:
    actor = ActorCalls(ACTOR, in_order)
    actor.alive(0)
    calls = calls_of(actor, WINDOW + 20, retries=1)
    actor.sendable()
    assert actor.restarting().fail == []
    assert actor.alive(1).send == calls[:WINDOW]
    assert [call.attempt for call in (calls[0], calls[-1])] == [1, 0]
    assert actor.dead().fail == calls
    assert actor.pending() == 0


def test_of_calls_that_wait_for_room_those_that_may_not_be_repeated_fail_at_a_restart() -> None:
    actor = ActorCalls(ACTOR, in_order=False)
    actor.alive(0)
    calls = calls_of(actor, WINDOW + 20)
    actor.sendable()
    assert actor.restarting().fail == calls
    assert actor.withdraw(calls[-1])


@pytest.mark.parametrize("in_order", [True, False])
def test_a_cancelled_call_leaves_the_queue_without_being_sent(in_order: bool) -> None:
    actor = ActorCalls(ACTOR, in_order)
    actor.alive(0)
    gone, behind = a_call(1, ready=False), a_call(2)
    actor.submit(gone)
    actor.submit(behind)
    gone.cancelled = True
    assert actor.sendable() == [behind] and not actor.queue


def test_a_restart_fails_what_was_sent_unless_it_may_be_retried() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    sent = [a_call(1), a_call(2, retries=1), a_call(3, retries=-1)]
    for call in sent:
        actor.submit(call)
    actor.sendable()
    waiting = a_call(4, retries=1)
    actor.submit(waiting)
    assert actor.restarting().fail == [sent[0]]
    assert actor.alive(1).send == [sent[1], sent[2], waiting]
    assert [(call.retries_left, call.attempt) for call in sent[1:]] == [(0, 1), (-1, 1)]


def test_a_call_that_may_not_be_repeated_does_not_wait_for_a_restart() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    actor.away()
    early, patient = a_call(1), a_call(2, retries=1)
    assert actor.submit(early) and actor.submit(patient)  # nobody knows yet what comes of the actor
    assert actor.restarting().fail == [early]
    assert not actor.submit(a_call(3))
    late = a_call(4, retries=-1)
    assert actor.submit(late)
    assert actor.alive(1).send == [patient, late]


def test_a_retry_that_was_paid_for_outlasts_a_second_restart() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    call = a_call(1, retries=1)
    actor.submit(call)
    actor.sendable()
    assert actor.restarting() == Outcome([], [], (call,)) and call.retries_left == 0
    assert actor.restarting() == Outcome([], [])
    assert actor.alive(2).send == [call]
    assert actor.restarting().fail == [call]


def test_a_new_incarnation_settles_the_old_one_when_its_restart_went_unnoticed() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    first, again = a_call(1), a_call(2, retries=1)
    actor.submit(first)
    actor.submit(again)
    actor.sendable()
    outcome = actor.alive(2)
    assert (outcome.send, outcome.fail, actor.incarnation) == ([again], [first], 2)


def test_late_news_of_an_older_incarnation_are_ignored() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(2)
    actor.away()
    calls_of(actor, 1)
    assert actor.alive(1) == Outcome([], []) and actor.state is ActorState.AWAY


def test_an_incarnation_whose_end_was_announced_does_not_come_back() -> None:
    """A handle that was pickled before the restart still says that the old one lives."""
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    actor.restarting()
    waiting = calls_of(actor, 1, retries=1)
    assert actor.alive(0) == Outcome([], [])
    assert actor.alive(1) == Outcome(waiting, [])


def test_the_first_incarnation_comes_after_a_restart_that_nobody_here_saw() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    waiting = calls_of(actor, 1, retries=1)
    actor.restarting()
    actor.restarting()
    assert actor.alive(1).send == waiting


def test_calls_in_flight_wait_for_the_verdict_when_the_process_is_gone() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    calls = calls_of(actor, 2)
    actor.sendable()
    assert actor.away() == Outcome([], [])
    assert actor.dead().fail == calls


def test_a_refused_call_takes_its_old_place() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    calls = calls_of(actor, 3)
    assert actor.sendable() == calls
    actor.refused(calls[2])
    actor.refused(calls[1])
    actor.refused(calls[1])
    assert list(actor.queue) == calls[1:] and actor.pending() == 3


def test_death_is_final() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    calls = calls_of(actor, 2)
    assert actor.dead().fail == calls
    assert actor.alive(9) == actor.restarting() == actor.away() == Outcome([], [])
    with pytest.raises(ValueError, match="cannot go from DEAD to ALIVE"):
        actor.move(ActorState.ALIVE)


class Model(RuleBasedStateMachine):
    """Each call is queued, with the present incarnation, finished or failed; nothing is lost or out of order."""

    in_order = True

    def __init__(self) -> None:
        super().__init__()
        self.actor = ActorCalls(ACTOR, self.in_order)
        self.calls: list[TaskRecord] = []
        self.place: dict[bytes, str] = {}
        self.last_sent = 0  # the highest sequence that the present incarnation got
        self.incarnation = 0
        self.serving = False
        self.restarting = False
        self.dead = False

    def took(self, calls: list[TaskRecord]) -> None:
        for call in calls:
            assert self.serving, "sent to nobody"
            assert self.place[call.task_id] == "queued" and call.message and not call.cancelled
            self.place[call.task_id] = "sent"
            if self.in_order:
                assert call.sequence > self.last_sent, "out of order"
                self.last_sent = call.sequence

    def failed(self, calls: list[TaskRecord]) -> None:
        for call in calls:
            if call.cancelled:
                continue
            assert self.place[call.task_id] in ("queued", "sent")
            assert self.dead or call.retries_left == 0
            self.place[call.task_id] = "failed"

    def in_place(self, place: str) -> list[TaskRecord]:
        return [call for call in self.calls if self.place[call.task_id] == place]

    @precondition(lambda self: not self.dead)
    @rule(ready=st.booleans(), retries=st.sampled_from([0, 1, -1]), count=st.integers(1, 3))
    def submit(self, ready: bool, retries: int, count: int) -> None:
        for _ in range(count):
            call = a_call(len(self.calls) + 1, retries, ready)
            taken = self.actor.submit(call)
            assert taken == (not self.restarting or bool(retries))
            if taken:
                self.calls.append(call)
                self.place[call.task_id] = "queued"
        self.took(self.actor.sendable())

    @precondition(lambda self: any(not call.message for call in self.in_place("queued")))
    @rule(data=st.data(), cancel=st.booleans())
    def arguments_come(self, data: st.DataObject, cancel: bool) -> None:
        call = data.draw(st.sampled_from([call for call in self.in_place("queued") if not call.message]))
        if cancel:
            call.cancelled = True
            self.place[call.task_id] = "cancelled"
        else:
            call.message = b"message"
        self.took(self.actor.sendable())

    @precondition(lambda self: self.in_place("sent"))
    @rule(data=st.data())
    def reply(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.in_place("sent")))
        self.place[call.task_id] = "finished"
        self.actor.finished(call.task_id)

    @precondition(lambda self: not self.dead)
    @rule()
    def process_dies(self) -> None:
        self.serving = False
        assert self.actor.away() == Outcome([], [])

    @precondition(lambda self: not self.dead)
    @rule()
    def restart_is_announced(self) -> None:
        self.serving, self.restarting = False, True
        before = {call.task_id for call in self.in_place("sent") if not call.retries_left}
        before |= {call.task_id for call in self.in_place("queued") if not call.retries_left and not call.attempt}
        outcome = self.actor.restarting()
        assert {call.task_id for call in outcome.fail if not call.cancelled} == before
        self.failed(outcome.fail)
        self.requeued()

    def requeued(self) -> None:
        for call in self.in_place("sent"):
            self.place[call.task_id] = "queued"

    @precondition(lambda self: not self.dead)
    @rule(step=st.integers(1, 2))
    def next_incarnation_serves(self, step: int) -> None:
        self.incarnation += step
        self.serving, self.restarting, self.last_sent = True, False, 0
        outcome = self.actor.alive(self.incarnation)
        self.failed(outcome.fail)
        self.requeued()
        self.took(outcome.send)

    @rule(back=st.integers(1, 3))
    def old_news(self, back: int) -> None:
        if self.incarnation - back >= 0:
            assert self.actor.alive(self.incarnation - back) == Outcome([], [])

    @precondition(lambda self: len(self.calls) > 6 and not self.dead)
    @rule()
    def dies(self) -> None:
        self.dead, self.serving = True, False
        self.failed(self.actor.dead().fail)
        assert not self.in_place("queued") and not self.in_place("sent")

    @invariant()
    def nothing_is_lost(self) -> None:
        queued = [call for call in self.actor.queue if not call.cancelled]
        assert {call.task_id for call in queued} == {call.task_id for call in self.in_place("queued")}
        assert set(self.actor.in_flight) == {call.task_id for call in self.in_place("sent")}
        assert [c.sequence for c in self.actor.queue] == sorted(c.sequence for c in self.actor.queue)


class UnorderedModel(Model):
    in_order = False


TestInOrder = Model.TestCase
TestInOrder.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestUnordered = UnorderedModel.TestCase
TestUnordered.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_withdrawn_call_holds_up_nobody_and_one_that_was_sent_stays() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    late, behind = a_call(1, ready=False), a_call(2)
    actor.submit(late)
    actor.submit(behind)
    assert actor.withdraw(late)
    assert actor.sendable() == [behind]
    assert not actor.withdraw(behind)
    assert actor.pending() == 1


def test_a_cancelled_call_is_not_repeated_after_a_restart() -> None:
    actor = ActorCalls(ACTOR, in_order=True)
    actor.alive(0)
    calls = calls_of(actor, 2, retries=1)
    actor.sendable()
    calls[0].cancelled = True
    assert actor.restarting().fail == [calls[0]]
    assert actor.alive(1).send == [calls[1]]
