from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from manta_common.ids import WorkerId, job_id
from manta_common.resources import ResourceSet
from manta_raylet.kernel.lease import LeaseRequest
from manta_raylet.leases.lease_queue import Entry, LeaseQueue, Verdict


def request(client: int, request_id: int, job: int = 1, cpu: float = 1) -> LeaseRequest:
    return LeaseRequest(
        client=WorkerId(bytes([client]) * 28),
        request_id=request_id,
        job_id=job_id(job),
        resources=ResourceSet.from_floats({"CPU": cpu}),
    )


def take(limit: int, order: list[tuple[int, int]]) -> Callable[[Entry], Verdict]:
    """Take units until the limit, noting (client, request id)."""

    def offer(entry: Entry) -> Verdict:
        if len(order) >= limit:
            return Verdict.WAITS
        order.append((entry.request.client[0], entry.request.request_id))
        entry.backlog -= 1
        return Verdict.TAKEN

    return offer


def test_jobs_are_served_in_turn() -> None:
    queue = LeaseQueue()
    queue.put(request(1, 1, job=1), 3)
    queue.put(request(2, 1, job=2), 3)
    order: list[tuple[int, int]] = []
    queue.serve(take(6, order))
    assert [client for client, _ in order] == [1, 2, 1, 2, 1, 2]
    assert len(queue) == 0


def test_clients_of_one_key_are_served_in_the_order_they_came_a_unit_each() -> None:
    queue = LeaseQueue()
    queue.put(request(1, 1), 5)
    queue.put(request(2, 7), 1)
    order: list[tuple[int, int]] = []
    queue.serve(take(3, order))
    assert order == [(1, 1), (2, 7), (1, 1)], "a nested task is not starved by its driver's long queue"


def test_a_key_that_waits_does_not_hold_up_another() -> None:
    queue = LeaseQueue()
    queue.put(request(1, 1, cpu=8), 1)
    queue.put(request(1, 2, cpu=1), 2)
    served: list[int] = []

    def offer(entry: Entry) -> Verdict:
        if entry.request.request_id == 1:
            entry.reason = "too large"
            return Verdict.WAITS
        served.append(entry.request.request_id)
        entry.backlog -= 1
        return Verdict.TAKEN

    queue.serve(offer)
    assert served == [2, 2]
    assert [(item.count, item.reason) for item in queue.demands()] == [(1, "too large")]


def test_a_later_message_replaces_the_count_and_keeps_the_place() -> None:
    queue = LeaseQueue()
    queue.put(request(1, 1), 1)
    queue.put(request(2, 1), 1)
    queue.put(request(1, 1), 4)
    order: list[tuple[int, int]] = []
    queue.serve(take(2, order))
    assert order == [(1, 1), (2, 1)]
    assert len(queue) == 3


def test_placed_units_are_not_offered_again() -> None:
    queue = LeaseQueue()
    entry = queue.put(request(1, 1), 2)

    def seat(entry: Entry) -> Verdict:
        entry.placed += 1
        return Verdict.TAKEN

    queue.serve(seat)
    assert (entry.backlog, entry.placed, entry.open) == (2, 2, 0)
    queue.settle(entry)
    assert queue.get(entry.id) is entry
    queue.settle(entry)
    assert queue.get(entry.id) is None, "an entry without backlog is gone"


def test_a_unit_that_loses_its_place_waits_again() -> None:
    queue = LeaseQueue()
    entry = queue.put(request(1, 1), 1)
    queue.serve(lambda e: (setattr(e, "placed", 1), Verdict.TAKEN)[1])
    assert list(queue.waiting()) == []
    queue.unplace(entry)
    assert list(queue.waiting()) == [entry]


def test_a_cancelled_request_is_gone() -> None:
    queue = LeaseQueue()
    entry = queue.put(request(1, 1), 2)
    queue.remove(entry)
    queue.remove(entry)
    assert len(queue) == 0 and queue.demands() == []


def test_a_refused_entry_is_gone() -> None:
    queue = LeaseQueue()
    queue.put(request(1, 1), 5)
    queue.serve(lambda entry: Verdict.REFUSED)
    assert len(queue) == 0 and queue.of_client(request(1, 1).client) == []


PUTS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.sampled_from([0.5, 1, 2]), st.integers(1, 4)),
    max_size=12,
)


@given(PUTS, st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_every_unit_is_served_once_however_it_was_put(puts: list[tuple[int, int, int, float, int]], limit: int) -> None:
    queue = LeaseQueue()
    wanted: dict[tuple[int, int], int] = {}
    for client, number, job, cpu, backlog in puts:
        for entry in queue.of_client(request(client, number).client):
            if entry.request.request_id == number:
                queue.remove(entry)
        queue.put(request(client, number, job, cpu), backlog)
        wanted[client, number] = backlog
    assert len(queue) == sum(wanted.values())
    order: list[tuple[int, int]] = []
    queue.serve(take(limit, order))
    assert len(order) == min(limit, sum(wanted.values()))
    assert all(order.count(key) <= count for key, count in wanted.items())
    assert len(queue) == sum(wanted.values()) - len(order)
    queue.serve(take(10_000, order))
    assert {key: order.count(key) for key in wanted} == wanted
    assert len(queue) == 0
