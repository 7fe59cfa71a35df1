"""The reference counter, one behaviour at a time; test_reference_model.py runs many of them together."""

import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from itertools import pairwise

import pytest
from ray._runtime.references.borrower import BorrowState
from ray._runtime.references.reference import NOTHING, Command, Commands, ProtocolError, ReferenceCounter
from ray._runtime.references.reference_command import (
    Forget,
    Free,
    Gone,
    OwnerDied,
    ReplyReady,
    SendAck,
    SendAdd,
    SendConfirm,
    SendDrop,
    SendFullSet,
    WatchProcess,
)

ME, OWNER, CALLER, OTHER = b"me", b"owner", b"caller", b"other"
X, Y, OUTER, TASK = b"x", b"y", b"outer", b"task"


@pytest.fixture
def counter() -> ReferenceCounter:
    return ReferenceCounter(ME)


def shown(commands: Iterable[Command]) -> list[tuple[str, Command]]:
    """Commands with their kinds, for tuples of two kinds may be equal; without the watching, which one test checks."""
    return [(type(command).__name__, command) for command in commands if not isinstance(command, WatchProcess)]


def drop_ref(counter: ReferenceCounter, object_id: bytes) -> Commands:
    resting, commands = counter.drop_some(deque([object_id]))
    assert not (resting and commands)
    return commands


def only(commands: Iterable[Command], kind: type[Command]) -> list[Command]:
    return [command for command in commands if type(command) is kind]


def assert_empty(counter: ReferenceCounter) -> None:
    assert not any(counter.summary().values()), counter.summary()


def borrow_in_task(counter: ReferenceCounter, object_id: bytes = X, owner: bytes = OWNER) -> SendAdd:
    """Hold a ref past the end of its task, so that the counter asks the owner to count us."""
    counter.received_in_task([(object_id, owner)], b"t-" + object_id, CALLER)
    (add,) = only(counter.task_done(b"t-" + object_id, CALLER), SendAdd)
    assert isinstance(add, SendAdd)
    return add


# -- the owner


def test_an_object_that_nobody_else_saw_is_freed_with_its_last_local_ref(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.add_local(X)
    assert not drop_ref(counter, X)
    assert shown(drop_ref(counter, X)) == [("Free", Free(X))]
    assert_empty(counter)


def test_dropping_too_often_is_reported_and_changes_nothing(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.task_submitted([X])
    drop_ref(counter, X)
    with pytest.raises(ValueError, match=X.hex()):
        drop_ref(counter, X)
    assert shown(counter.task_finished([X])) == [("Free", Free(X))]


def test_a_task_keeps_its_arguments_until_its_reply(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.task_submitted([X, X])
    assert not drop_ref(counter, X)
    assert shown(counter.task_finished([X, X], OTHER)) == [("Free", Free(X))]
    assert_empty(counter)


def test_a_kept_argument_stays_until_the_executor_drops_it(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.task_submitted([X])
    drop_ref(counter, X)
    assert not only(counter.task_finished([X], OTHER, [(X, 5)]), Free)
    assert shown(counter.on_drop(OTHER, X, OTHER, b"", 5, 6)) == [("Free", Free(X))]
    assert_empty(counter)


def test_a_drop_that_overtakes_the_reply_cancels_what_the_reply_keeps(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.task_submitted([X])
    drop_ref(counter, X)
    assert not only(counter.on_drop(OTHER, X, OTHER, b"", 5, 6), Free)
    assert shown(counter.task_finished([X], OTHER, [(X, 5)])) == [("Free", Free(X))]
    assert_empty(counter)


def test_a_repeated_or_late_message_does_nothing(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.on_add(OTHER, X, OTHER, b"", 1, 2)
    counter.on_drop(OTHER, X, OTHER, b"", 1, 3)
    assert not counter.on_add(OTHER, X, OTHER, b"", 1, 2)
    assert not counter.on_drop(OTHER, X, OTHER, b"", 1, 3)
    assert shown(drop_ref(counter, X)) == [("Free", Free(X))]
    assert_empty(counter)


def test_an_add_for_a_freed_object_is_answered_with_gone(counter: ReferenceCounter) -> None:
    assert shown(counter.on_add(OTHER, X, OTHER, b"", 1, 2)) == [("SendAck", SendAck(OTHER, 2, True))]
    assert_empty(counter)


def test_a_late_add_for_a_container_does_not_bring_back_its_hold(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.on_add(OTHER, X, CALLER, b"tag", 0, 7)
    drop_ref(counter, X)
    out = counter.on_drop(CALLER, X, CALLER, b"tag", 0, 1)
    assert shown(out) == [("SendAck", SendAck(CALLER, 1, False)), ("Free", Free(X))]
    counter.create(Y)
    assert not counter.on_add(OTHER, X, CALLER, b"tag", 0, 7)
    drop_ref(counter, Y)
    assert_empty(counter)


def test_a_process_speaks_for_itself_only(counter: ReferenceCounter) -> None:
    counter.create(X)
    with pytest.raises(ProtocolError, match=CALLER.hex()):
        counter.on_add(OTHER, X, CALLER, b"", 1, 2)
    with pytest.raises(ProtocolError, match=CALLER.hex()):
        counter.on_drop(OTHER, X, CALLER, b"tag", 0, 2)


def test_a_full_set_replaces_older_borrows_but_not_newer_ones_nor_containers(counter: ReferenceCounter) -> None:
    for object_id in (X, Y, OUTER, b"new"):
        counter.create(object_id)
        counter.task_submitted([object_id])
        drop_ref(counter, object_id)
    counter.on_add(OTHER, X, OTHER, b"", 1, 2)
    counter.on_add(CALLER, OUTER, OTHER, b"tag", 0, 1)
    counter.task_finished([b"new"], OTHER, [(b"new", 9)])
    assert not only(counter.on_full_set(OTHER, 8, [(Y, 3)]), Free)
    assert shown(counter.task_finished([X])) == [("Free", Free(X))]  # its Drop was lost with the connection
    assert not counter.task_finished([Y, OUTER])
    assert counter.object_ids() == [Y, OUTER, b"new"]


def test_a_kept_ref_that_a_later_full_set_left_out_is_not_registered(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.task_submitted([X])
    drop_ref(counter, X)
    counter.on_full_set(OTHER, 8, [])
    assert shown(counter.task_finished([X], OTHER, [(X, 5)])) == [("Free", Free(X))]


def test_a_dead_borrower_holds_nothing_and_is_not_heard_any_more(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.on_add(OTHER, X, OTHER, b"", 1, 2)
    drop_ref(counter, X)
    assert shown(counter.process_died(OTHER)) == [("Free", Free(X))]
    counter.create(Y)
    assert not counter.on_add(OTHER, Y, OTHER, b"", 3, 4)
    counter.task_submitted([Y])
    drop_ref(counter, Y)
    assert shown(counter.task_finished([Y], OTHER, [(Y, 5)])) == [("Free", Free(Y))]
    assert_empty(counter)


def test_silence_never_ends_a_hold(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.on_add(OTHER, X, OTHER, b"", 1, 2)
    drop_ref(counter, X)
    assert not counter.reconnected(OTHER)
    counts = counter.counts(X)
    assert counts is not None and counts.borrowers == 1


def test_every_process_that_matters_is_watched_once(counter: ReferenceCounter) -> None:
    counter.create(X)
    out = [*counter.on_add(CALLER, X, OTHER, b"tag", 0, 1), *counter.on_add(CALLER, X, OTHER, b"tag2", 0, 2)]
    out += counter.received_in_task([(Y, OWNER)], TASK, CALLER)
    assert only(out, WatchProcess) == [WatchProcess(CALLER), WatchProcess(OTHER), WatchProcess(OWNER)]


# -- containers


def test_freeing_an_object_frees_what_only_it_contained(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.create(OUTER)
    counter.put_contains(OUTER, [X])
    assert not drop_ref(counter, X)
    assert shown(drop_ref(counter, OUTER)) == [("Free", Free(OUTER)), ("Free", Free(X))]
    assert_empty(counter)


def test_a_chain_of_100_000_nested_objects_is_freed_without_recursion(counter: ReferenceCounter) -> None:
    ids = [b"%d" % index for index in range(100_000)]
    counter.create(ids[0])
    for inner, outer in pairwise(ids):
        counter.create(outer)
        counter.put_contains(outer, [inner])
        drop_ref(counter, inner)
    assert [command.object_id for command in drop_ref(counter, ids[-1])] == ids[::-1]  # type: ignore[union-attr]
    assert_empty(counter)


def test_a_chain_of_100_000_borrowed_objects_survives_the_death_of_its_owner(counter: ReferenceCounter) -> None:
    ids = [b"%d" % index for index in range(100_000)]
    counter.received_in_task([(ids[0], OWNER)], TASK, CALLER)
    for outer, inner in pairwise(ids):
        counter.received_in_object([(inner, OWNER)], outer)
    assert len(only(counter.process_died(OWNER), OwnerDied)) == len(ids)
    for object_id in ids:
        assert shown(drop_ref(counter, object_id)) == [("Forget", Forget(object_id))]
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ()))]
    assert_empty(counter)


def test_a_borrowed_ref_in_a_put_stays_borrowed_while_the_put_lives(counter: ReferenceCounter) -> None:
    add = borrow_in_task(counter)
    counter.on_ack(OWNER, add.request_id, False)
    counter.create(OUTER)
    counter.put_contains(OUTER, [X])
    assert not drop_ref(counter, X)
    out = drop_ref(counter, OUTER)
    assert [type(command) for command in out] == [Free, SendDrop, Forget]
    assert_empty(counter)


def test_a_pinned_ref_stays_until_the_job_ends(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.pin_for_job(X)
    counter.pin_for_job(X)
    assert not drop_ref(counter, X)
    assert shown(counter.drop_all()) == [("Free", Free(X))]
    assert_empty(counter)


# -- the borrower


def test_a_ref_that_is_dropped_within_its_task_costs_no_message(counter: ReferenceCounter) -> None:
    counter.received_in_task([(X, OWNER)], TASK, CALLER)
    assert shown(drop_ref(counter, X)) == [("Forget", Forget(X))]
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ()))]
    assert_empty(counter)


def test_a_kept_ref_of_the_caller_is_named_in_the_reply(counter: ReferenceCounter) -> None:
    counter.received_in_task([(X, CALLER)], TASK, CALLER)
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ((X, 1),)))]
    out = drop_ref(counter, X)
    assert shown(out) == [("SendDrop", SendDrop(CALLER, X, ME, b"", 1, 2)), ("Forget", Forget(X))]
    assert_empty(counter)


def test_a_kept_ref_of_a_third_process_makes_the_reply_wait_for_its_owner(counter: ReferenceCounter) -> None:
    add = borrow_in_task(counter)
    assert add == (OWNER, X, ME, b"", add.number, add.request_id)
    assert not counter.on_ack(OTHER, add.request_id, False)  # not the owner
    assert shown(counter.on_ack(OWNER, add.request_id, False)) == [("ReplyReady", ReplyReady(b"t-x", ()))]
    assert not counter.on_ack(OWNER, add.request_id, False)
    drop_ref(counter, X)
    assert_empty(counter)


def test_a_ref_that_is_dropped_while_its_add_is_under_way_holds_nothing_up(counter: ReferenceCounter) -> None:
    add = borrow_in_task(counter)
    out = drop_ref(counter, X)
    assert [type(command) for command in out] == [SendDrop, Forget, ReplyReady]
    assert not counter.on_ack(OWNER, add.request_id, False)
    assert_empty(counter)


def test_a_ref_passed_on_when_the_task_has_ended_is_kept_until_the_callee_replies(counter: ReferenceCounter) -> None:
    counter.received_in_task([(X, CALLER)], TASK, CALLER)
    counter.task_submitted([X])
    assert not drop_ref(counter, X)
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ((X, 1),)))]
    assert [type(command) for command in counter.task_finished([X], OTHER)] == [SendDrop, Forget]
    assert_empty(counter)


def test_a_ref_keeps_its_first_shield_when_it_comes_again(counter: ReferenceCounter) -> None:
    """The second caller may have it from us; if that task became the shield, each would count on the other."""
    counter.received_in_task([(X, CALLER)], TASK, CALLER)
    counter.received_in_task([(X, CALLER)], b"second", OTHER)
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ((X, 1),)))]


def test_an_outer_object_is_dropped_only_when_the_owner_of_its_inner_ref_knows_us(counter: ReferenceCounter) -> None:
    outer_add = borrow_in_task(counter, OUTER)
    counter.on_ack(OWNER, outer_add.request_id, False)
    assert not shown(counter.received_in_object([(X, OTHER)], OUTER))
    (add,) = only(drop_ref(counter, OUTER), SendAdd)
    assert isinstance(add, SendAdd) and add.owner == OTHER
    out = counter.on_ack(OTHER, add.request_id, False)
    assert [type(command) for command in out] == [SendDrop, Forget]
    drop_ref(counter, X)
    assert_empty(counter)


def test_an_outer_object_that_comes_back_while_it_lingers_is_not_dropped(counter: ReferenceCounter) -> None:
    outer_add = borrow_in_task(counter, OUTER)
    counter.on_ack(OWNER, outer_add.request_id, False)
    counter.received_in_object([(X, OTHER)], OUTER)
    (add,) = only(drop_ref(counter, OUTER), SendAdd)
    assert isinstance(add, SendAdd)
    counter.received_in_task([(OUTER, OWNER)], TASK, CALLER)
    assert not counter.on_ack(OTHER, add.request_id, False)
    assert [type(command) for command in drop_ref(counter, OUTER)] == [SendDrop, Forget]


def test_an_inner_ref_moves_behind_the_shield_of_the_object_it_came_from(counter: ReferenceCounter) -> None:
    counter.received_in_task([(OUTER, OWNER)], TASK, CALLER)
    counter.received_in_object([(X, CALLER)], OUTER)
    assert shown(drop_ref(counter, OUTER)) == [("Forget", Forget(OUTER))]
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ((X, 1),)))]


def test_a_ref_out_of_an_object_in_use_rests_between_two_reads_and_says_nothing(counter: ReferenceCounter) -> None:
    outer_add = borrow_in_task(counter, OUTER)
    counter.on_ack(OWNER, outer_add.request_id, False)
    counter.received_in_object([(X, OTHER), (X, OTHER)], OUTER)
    first, last = counter.drop_some(deque([X])), counter.drop_some(deque([X]))
    assert first == ([], NOTHING) and last == ([X], NOTHING)
    assert counter.received_in_object([(X, OTHER)], OUTER) == []
    with pytest.raises(ValueError, match="more often"):
        drop_ref(counter, X), drop_ref(counter, X)
    assert [type(command) for command in drop_ref(counter, OUTER)] == [Forget, SendDrop, Forget]
    assert_empty(counter)


def test_a_resting_ref_that_came_out_of_an_object_of_ours_ends_with_it(counter: ReferenceCounter) -> None:
    counter.create(OUTER)
    counter.received_in_object([(X, OTHER), (Y, OTHER)], OUTER)
    assert counter.drop_some(deque([X])) == ([X], NOTHING)
    commands = drop_ref(counter, OUTER)
    assert Forget(X) in commands and Free(OUTER) in commands
    (add,) = only(commands, SendAdd)
    assert isinstance(add, SendAdd) and add.object_id == Y, "what is in use is registered, what rests is not"


def test_a_resting_ref_does_not_move_behind_another_shield(counter: ReferenceCounter) -> None:
    counter.received_in_task([(OUTER, OWNER)], TASK, CALLER)
    counter.received_in_object([(X, CALLER)], OUTER)
    assert counter.drop_some(deque([X])) == ([X], NOTHING)
    assert {Forget(OUTER), Forget(X)} == set(drop_ref(counter, OUTER))
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ()))]
    assert_empty(counter)


def test_a_resting_ref_ends_with_its_owner(counter: ReferenceCounter) -> None:
    counter.create(OUTER)
    counter.received_in_object([(X, OTHER)], OUTER)
    drop_ref(counter, X)
    assert OwnerDied(X) in counter.process_died(OTHER)
    drop_ref(counter, OUTER)
    assert_empty(counter)


def test_a_ref_out_of_an_object_not_in_use_is_refused(counter: ReferenceCounter) -> None:
    with pytest.raises(LookupError, match=OUTER.hex()):
        counter.received_in_object([(X, OWNER)], OUTER)


def test_a_ref_from_outside_of_a_call_is_registered_at_once(counter: ReferenceCounter) -> None:
    (add,) = only(counter.received_elsewhere([(X, OWNER)]), SendAdd)
    assert isinstance(add, SendAdd)
    assert shown(counter.on_ack(OWNER, add.request_id, True)) == [("Gone", Gone(X))]
    assert shown(drop_ref(counter, X)) == [("Forget", Forget(X))]
    assert_empty(counter)


def test_after_a_reconnect_all_borrows_are_said_and_unanswered_requests_sent_again(counter: ReferenceCounter) -> None:
    held = borrow_in_task(counter, X)
    counter.on_ack(OWNER, held.request_id, False)
    add = borrow_in_task(counter, Y)
    counter.received_in_task([(b"shielded", OWNER)], TASK, CALLER)
    full_set, again = counter.reconnected(OWNER)
    assert isinstance(full_set, SendFullSet) and isinstance(again, SendAdd)
    assert sorted(full_set.holds) == [(X, held.number), (Y, add.number)]
    assert add.request_id < full_set.request_id < again.request_id
    assert again.number == add.number
    assert not counter.on_ack(OWNER, add.request_id, False)  # of the old connection; the new one answers again
    assert only(counter.on_ack(OWNER, again.request_id, False), ReplyReady) == [ReplyReady(b"t-y", ())]
    assert not counter.reconnected(OTHER)


def test_the_death_of_an_owner_is_told_once_and_releases_what_waited(counter: ReferenceCounter) -> None:
    borrow_in_task(counter)
    out = counter.process_died(OWNER)
    assert shown(out) == [("OwnerDied", OwnerDied(X)), ("ReplyReady", ReplyReady(b"t-x", ()))]
    assert not counter.process_died(OWNER)
    assert shown(counter.received_in_task([(Y, OWNER)], TASK, CALLER)) == [("OwnerDied", OwnerDied(Y))]
    drop_ref(counter, X)
    drop_ref(counter, Y)
    assert shown(counter.task_done(TASK, CALLER)) == [("ReplyReady", ReplyReady(TASK, ()))]
    assert_empty(counter)


def test_the_death_of_a_caller_registers_what_its_task_protected(counter: ReferenceCounter) -> None:
    counter.received_in_task([(X, OWNER)], TASK, CALLER)
    counter.received_in_task([(Y, CALLER)], TASK, CALLER)
    out = counter.process_died(CALLER)
    assert [command[:2] for command in out] == [(Y,), (OWNER, X)]
    assert isinstance(out[0], OwnerDied) and isinstance(out[1], SendAdd)


# -- results that contain refs


def test_a_result_with_a_ref_of_the_executor_is_held_before_the_reply(counter: ReferenceCounter) -> None:
    counter.create(X)
    out = counter.task_done(TASK, CALLER, {OUTER: [(X, ME)]})
    assert shown(out) == [("ReplyReady", ReplyReady(TASK, ()))]
    assert not drop_ref(counter, X)
    out = counter.on_drop(CALLER, X, CALLER, OUTER + ME, 0, 1)
    assert shown(out) == [("SendAck", SendAck(CALLER, 1, False)), ("Free", Free(X))]
    assert_empty(counter)


def test_a_result_with_a_ref_of_the_caller_waits_for_the_callers_own_hold(counter: ReferenceCounter) -> None:
    counter.received_in_task([(X, CALLER)], TASK, CALLER)
    (add,) = only(counter.task_done(TASK, CALLER, {OUTER: [(X, CALLER)]}), SendAdd)
    assert isinstance(add, SendAdd)
    assert (add.owner, add.holder, add.tag) == (CALLER, CALLER, OUTER + ME)
    assert not drop_ref(counter, X)
    out = counter.on_ack(CALLER, add.request_id, False)
    assert sorted(type(command).__name__ for command in out) == ["Forget", "ReplyReady"]
    assert_empty(counter)


def test_a_result_is_taken_over_and_its_holds_dropped_until_answered(counter: ReferenceCounter) -> None:
    counter.create(OUTER)
    counter.result_contains(OUTER, OTHER, [(X, OWNER)])
    free, drop = drop_ref(counter, OUTER)
    assert isinstance(free, Free) and isinstance(drop, SendDrop) and drop.tag == OUTER + OTHER
    full_set, again = counter.reconnected(OWNER)
    assert isinstance(full_set, SendFullSet) and isinstance(again, SendDrop) and again.tag == drop.tag
    counter.on_ack(OWNER, again.request_id, False)
    assert_empty(counter)


def test_a_freed_result_keeps_its_hold_until_the_owner_counts_a_ref_out_of_it(
    counter: ReferenceCounter,
) -> None:
    counter.create(OUTER)
    counter.result_contains(OUTER, OTHER, [(X, OWNER)])
    counter.received_in_object([(X, OWNER)], OUTER)
    free, add = drop_ref(counter, OUTER)
    assert isinstance(free, Free) and isinstance(add, SendAdd)
    (drop,) = counter.on_ack(OWNER, add.request_id, False)
    assert isinstance(drop, SendDrop) and drop.tag == OUTER + OTHER
    counter.on_ack(OWNER, drop.request_id, False)
    drop_ref(counter, X)
    assert_empty(counter)


def test_a_reply_from_a_process_declared_dead_gives_us_nothing(counter: ReferenceCounter) -> None:
    counter.create(OUTER)
    counter.process_died(OTHER)
    assert not counter.result_contains(OUTER, OTHER, [(X, OWNER)])
    assert shown(drop_ref(counter, OUTER)) == [("Free", Free(OUTER))]
    assert_empty(counter)


def test_a_result_that_was_freed_before_its_reply_came_is_dropped_at_once(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.on_add(OTHER, X, ME, OUTER + OTHER, 0, 1)
    drop_ref(counter, X)
    out = counter.result_contains(OUTER, OTHER, [(X, ME), (Y, OWNER)])
    assert [type(command) for command in out if not isinstance(command, WatchProcess)] == [SendDrop, Free]


def test_an_executor_that_died_before_its_reply_leaves_no_hold_behind(counter: ReferenceCounter) -> None:
    owner, caller = ReferenceCounter(OWNER), counter
    owner.create(X)
    tag = OUTER + OTHER
    owner.on_add(OTHER, X, ME, tag, 0, 1)
    drop_ref(owner, X)
    (question,) = owner.process_died(OTHER)
    assert question == SendConfirm(ME, X, tag, OTHER)
    assert owner.reconnected(ME) == [question]
    assert not only(caller.on_confirm(OWNER, X, tag, OTHER), SendDrop)  # the reply may still be on its way here
    (drop,) = only(caller.process_died(OTHER), SendDrop)
    assert isinstance(drop, SendDrop)
    out = owner.on_drop(ME, X, ME, tag, 0, drop.request_id)
    assert shown(out) == [("SendAck", SendAck(ME, drop.request_id, False)), ("Free", Free(X))]
    caller.on_ack(OWNER, drop.request_id, False)
    assert_empty(owner)
    assert_empty(caller)


def test_a_result_that_was_taken_over_survives_its_executor(counter: ReferenceCounter) -> None:
    counter.create(OUTER)
    counter.result_contains(OUTER, OTHER, [(X, OWNER)])
    counter.process_died(OTHER)
    assert not only(counter.on_confirm(OWNER, X, OUTER + OTHER, OTHER), SendDrop)


# -- state output


def test_counts_tell_why_an_object_is_alive(counter: ReferenceCounter) -> None:
    counter.create(X)
    counter.task_submitted([X])
    counter.pin_for_job(X)
    counter.on_add(OTHER, X, OTHER, b"", 1, 1)
    counter.on_add(OTHER, X, CALLER, b"tag", 0, 2)
    assert counter.counts(X) == (ME, 1, 1, 0, True, 1, 1, None)
    counter.received_in_task([(Y, OWNER)], TASK, CALLER)
    assert counter.counts(Y) == (OWNER, 1, 0, 0, False, 0, 0, BorrowState.SHIELDED)
    assert counter.counts(b"unknown") is None


def test_the_counter_imports_the_standard_library_only() -> None:
    counter = "ray._runtime.references.reference"
    code = f"import sys; before = set(sys.modules); import {counter}; print(*sorted(set(sys.modules)-before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    tops = {name.partition(".")[0] for name in found.stdout.split()}
    assert tops - {"ray"} <= set(sys.stdlib_module_names)


def test_many_ends_are_counted_in_a_row_up_to_the_first_that_is_to_be_carried_out(
    counter: ReferenceCounter,
) -> None:
    for object_id, times in ((X, 2), (Y, 1), (OUTER, 3)):
        counter.create(object_id)
        for _ in range(times - 1):
            counter.add_local(object_id)
    ended = deque([X, OUTER, Y, X, OUTER])
    assert counter.drop_some(ended) == ([], (Free(Y),)) and list(ended) == [X, OUTER]
    assert counter.drop_some(ended) == ([], (Free(X),)) and list(ended) == [OUTER]
    assert counter.drop_some(ended) == ([], ()) and not ended
    with pytest.raises(KeyError):
        counter.drop_some(deque([X]))
