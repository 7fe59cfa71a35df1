"""Pulls: one an object, candidates in order, bytes and streams within their bounds."""

import random

import pytest
from manta_common.ids import NodeId, ObjectId, WorkerId
from manta_object_manager.object_table import Owner
from manta_object_manager.pulls import (
    FIRST_PATIENCE_S,
    FIRST_REST_S,
    Command,
    OpenStream,
    Pulls,
    Receive,
    Rest,
    StopStream,
    Tell,
    WaiterId,
)

OWNER = Owner(NodeId(b"n"), WorkerId(b"w"))
N1, N2, N3 = (NodeId(bytes([number]) * 28) for number in (1, 2, 3))
A, B, C = (ObjectId(name * 28) for name in (b"a", b"b", b"c"))


def waiter(number: int) -> WaiterId:
    return WaiterId(number)


def pulls(budget: int = 100, streams: int = 4) -> Pulls:
    return Pulls(budget=budget, streams=streams)


def only(commands: list[Command], kind: type) -> list[Command]:
    return [command for command in commands if isinstance(command, kind)]


def test_many_waiters_share_one_pull() -> None:
    core = pulls()
    (opened,) = core.request(waiter(1), A, [N1], OWNER)
    assert isinstance(opened, OpenStream) and opened.node_id == N1
    assert core.request(waiter(2), A, [N1], OWNER) == []
    assert core.opened(A, opened.attempt, 10) == [Receive(A, OWNER, 10, opened.attempt)]
    assert core.finished(A, opened.attempt) == [Tell(A, (waiter(1), waiter(2)), None)]
    assert len(core) == 0 and core.receiving_bytes == 0


def test_the_next_candidate_is_asked_when_one_fails_and_all_are_named_in_the_end() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1, N2, N1], OWNER)
    assert isinstance(first, OpenStream)
    (second,) = core.missing(A, first.attempt)
    assert isinstance(second, OpenStream) and second.node_id == N2
    assert core.missing(A, second.attempt) == [Tell(A, (waiter(1),), (N1, N2))]


def test_a_node_that_could_not_be_reached_is_asked_again_after_the_others_and_a_rest() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1, N2], OWNER)
    assert isinstance(first, OpenStream)
    (second,) = core.unreached(A, first.attempt)
    assert isinstance(second, OpenStream) and second.node_id == N2
    (rest,) = core.missing(A, second.attempt)
    assert rest == Rest(A, second.attempt, 2 * FIRST_REST_S)
    assert core.missing(A, second.attempt) == []  # it was told already
    (again,) = core.rested(A, rest.attempt)
    assert isinstance(again, OpenStream) and again.node_id == N1
    assert again.patience_s == 2 * first.patience_s == 2 * FIRST_PATIENCE_S
    assert core.rested(A, rest.attempt) == []
    assert core.missing(A, again.attempt) == [Tell(A, (waiter(1),), (N2, N1))]


def test_a_node_that_could_not_be_reached_counts_as_lost_once_it_is_dead() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1, N2], OWNER)
    assert isinstance(first, OpenStream)
    (second,) = core.unreached(A, first.attempt)
    assert isinstance(second, OpenStream)
    (rest,) = core.unreached(A, second.attempt)
    assert core.node_died(N1) == []
    assert core.node_died(N2) == [Tell(A, (waiter(1),), (N1, N2))]
    assert core.rested(A, rest.attempt) == []  # type: ignore[union-attr]


def test_a_rest_ends_when_another_waiter_names_another_node() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1], OWNER)
    assert isinstance(first, OpenStream)
    (rest,) = core.unreached(A, first.attempt)
    assert isinstance(rest, Rest)
    assert core.request(waiter(2), A, [N1], OWNER) == []
    (second,) = core.request(waiter(3), A, [N1, N2], OWNER)
    assert isinstance(second, OpenStream) and second.node_id == N2
    assert core.rested(A, rest.attempt) == []
    assert core.cancel(waiter(1)) == core.cancel(waiter(2)) == []
    assert core.cancel(waiter(3)) == [StopStream(A, second.attempt)]


def test_a_node_that_does_not_answer_makes_room_for_others() -> None:
    core = pulls(streams=1)
    (first,) = core.request(waiter(1), A, [N1], OWNER)
    assert isinstance(first, OpenStream)
    assert core.request(waiter(2), B, [N2], OWNER) == []
    stop, rest, second = core.overdue(A, first.attempt)
    assert stop == StopStream(A, first.attempt) and isinstance(rest, Rest)
    assert isinstance(second, OpenStream) and second.object_id == B
    core.opened(B, second.attempt, 10)
    assert core.overdue(B, second.attempt) == []


def test_a_source_that_breaks_off_while_sending_is_replaced() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1, N2], OWNER)
    assert isinstance(first, OpenStream)
    core.opened(A, first.attempt, 10)
    (second,) = core.missing(A, first.attempt)
    assert core.receiving_bytes == 0
    assert isinstance(second, OpenStream)
    assert core.finished(A, first.attempt) == []  # late news of the attempt given up
    assert core.opened(A, second.attempt, 10) == [Receive(A, OWNER, 10, second.attempt)]


def test_a_later_waiter_brings_further_candidates() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1], OWNER)
    core.request(waiter(2), A, [N2], OWNER)
    assert isinstance(first, OpenStream)
    (second,) = core.missing(A, first.attempt)
    assert isinstance(second, OpenStream) and second.node_id == N2


def test_without_candidates_the_object_is_lost_at_once() -> None:
    assert pulls().request(waiter(1), A, [], OWNER) == [Tell(A, (waiter(1),), ())]


def test_the_budget_admits_in_order_and_an_oversized_object_alone() -> None:
    core = pulls(budget=100)
    attempts = {}
    for number, name in enumerate((A, B, C)):
        (command,) = core.request(waiter(number), name, [N1], OWNER)
        assert isinstance(command, OpenStream)
        attempts[name] = command.attempt
    assert only(core.opened(A, attempts[A], 60), Receive)
    assert core.opened(B, attempts[B], 500) == []
    assert core.opened(C, attempts[C], 10) == []  # it would fit, but B is older
    assert core.finished(A, attempts[A])[1:] == [Receive(B, OWNER, 500, attempts[B])]
    assert core.finished(B, attempts[B])[1:] == [Receive(C, OWNER, 10, attempts[C])]


def test_no_more_streams_than_allowed() -> None:
    core = pulls(streams=1)
    (first,) = core.request(waiter(1), A, [N1], OWNER)
    assert core.request(waiter(2), B, [N1], OWNER) == []
    assert isinstance(first, OpenStream)
    lost, opened = core.missing(A, first.attempt)
    assert {type(lost), type(opened)} == {Tell, OpenStream}


def test_the_last_waiter_that_leaves_stops_the_pull() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1], OWNER)
    core.request(waiter(2), A, [N1], OWNER)
    assert isinstance(first, OpenStream)
    assert core.cancel(waiter(1)) == []
    assert core.cancel(waiter(2)) == [StopStream(A, first.attempt)]
    assert core.cancel(waiter(2)) == []
    assert core.opened(A, first.attempt, 10) == []
    assert len(core) == 0


def test_a_dead_node_is_given_up_at_once() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1, N2, N3], OWNER)
    core.node_died(N2)
    assert isinstance(first, OpenStream)
    stop, following = core.node_died(N1)
    assert stop == StopStream(A, first.attempt)
    assert isinstance(following, OpenStream) and following.node_id == N3
    assert core.missing(A, following.attempt) == [Tell(A, (waiter(1),), (N2, N1, N3))]


def test_an_object_that_appears_otherwise_ends_its_pull() -> None:
    core = pulls()
    (first,) = core.request(waiter(1), A, [N1], OWNER)
    assert isinstance(first, OpenStream)
    assert core.present(A) == [StopStream(A, first.attempt), Tell(A, (waiter(1),), None)]


def test_settings_that_could_never_work_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pulls(budget=0, streams=1)


@pytest.mark.parametrize("seed", range(20))
def test_every_waiter_is_told_exactly_once_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    core = pulls(budget=50, streams=3)
    open_streams: dict[int, OpenStream] = {}
    receiving: set[int] = set()
    resting: dict[int, Rest] = {}
    told: list[WaiterId] = []
    asked: set[WaiterId] = set()

    def perform(commands: list[Command]) -> None:
        for command in commands:
            match command:
                case OpenStream():
                    open_streams[command.attempt] = command
                case Receive():
                    receiving.add(command.attempt)
                case StopStream():
                    open_streams.pop(command.attempt, None)
                    receiving.discard(command.attempt)
                case Rest():
                    resting[command.attempt] = command
                case Tell():
                    told.extend(command.waiters)

    names = [ObjectId(bytes([number]) * 28) for number in range(6)]
    for number in range(300):
        choice = rng.random()
        if choice < 0.4:
            asked.add(waiter(number))
            nodes = rng.sample([N1, N2, N3], rng.randint(0, 3))
            perform(core.request(waiter(number), rng.choice(names), nodes, OWNER))
        elif choice < 0.5 and asked - set(told):
            leaving = rng.choice(sorted(asked - set(told)))
            asked.remove(leaving)
            perform(core.cancel(leaving))
        elif choice < 0.6 and resting:
            attempt = rng.choice(sorted(resting))
            perform(core.rested(resting.pop(attempt).object_id, attempt))
        elif open_streams:
            attempt = rng.choice(sorted(open_streams))
            stream = open_streams[attempt]
            if attempt in receiving:
                receiving.discard(attempt)
                del open_streams[attempt]
                perform(rng.choice([core.finished, core.missing, core.unreached])(stream.object_id, attempt))
            elif rng.random() < 0.3:
                if rng.random() < 0.5:
                    perform(core.overdue(stream.object_id, attempt))  # stops it, unless it was opened
                else:
                    del open_streams[attempt]
                    perform(rng.choice([core.missing, core.unreached])(stream.object_id, attempt))
            else:
                perform(core.opened(stream.object_id, attempt, rng.randint(0, 80)))
        assert len(open_streams) <= 3
    for _ in range(2000):
        while resting:
            attempt, rest = resting.popitem()
            perform(core.rested(rest.object_id, attempt))
        if not open_streams:
            break
        attempt = min(open_streams)
        receiving.discard(attempt)
        perform(core.missing(open_streams.pop(attempt).object_id, attempt))
    assert sorted(told) == sorted(asked), f"seed {seed}"
    assert len(core) == 0 and core.receiving_bytes == 0
