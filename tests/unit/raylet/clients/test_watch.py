from manta_common.ids import NodeId, WorkerId
from manta_proto.common.v1 import common_pb2
from manta_raylet.clients.endpoint import EndpointTable
from manta_raylet.clients.watch import RecentDeaths, WatchTable, group_by_watcher
from manta_raylet.kernel.death import cause_of_exit, dead

NODE, OTHER = NodeId(b"n" * 28), NodeId(b"o" * 28)
Cause = common_pb2.DeathCause


def worker(number: int) -> WorkerId:
    return WorkerId(bytes([number]) * 28)


def death(number: int, node: NodeId = NODE) -> common_pb2.DeadWorker:
    return dead(node, worker(number), Cause(kind=Cause.WORKER_DIED))


def test_a_death_is_told_to_its_watchers_once() -> None:
    watches = WatchTable()
    watches.watch(worker(1), NODE, worker(9))
    watches.watch(worker(1), NODE, worker(9))
    watches.watch(worker(2), NODE, worker(9))
    assert watches.died(worker(9)) == {worker(1), worker(2)}
    assert watches.died(worker(9)) == set()


def test_who_forgets_or_goes_is_not_told() -> None:
    watches = WatchTable()
    for client in (1, 2, 3):
        watches.watch(worker(client), NODE, worker(9))
    watches.forget(worker(1), worker(9))
    watches.client_gone(worker(2))
    assert watches.died(worker(9)) == {worker(3)}
    watches.forget(worker(5), worker(6))


def test_the_watched_of_a_node_are_known() -> None:
    watches = WatchTable()
    watches.watch(worker(1), NODE, worker(8))
    watches.watch(worker(2), NODE, worker(8))
    watches.watch(worker(1), OTHER, worker(9))
    assert watches.on_node(NODE) == [worker(8)]


def test_the_ring_of_deaths_is_bounded_and_keeps_the_first_word() -> None:
    deaths = RecentDeaths(limit=2)
    assert deaths.add(death(1)) and not deaths.add(death(1))
    deaths.add(death(2, OTHER))
    deaths.add(death(3))
    assert deaths.get(worker(1)) is None
    assert deaths.last(5, NODE) == [death(3)]
    assert deaths.last(1) == [death(3)]


def test_many_deaths_make_one_message_a_client() -> None:
    news = group_by_watcher([(death(1), [worker(7)]), (death(2), [worker(7), worker(8)])])
    assert news == {worker(7): [death(1), death(2)], worker(8): [death(2)]}


def test_a_cause_that_was_decided_counts_over_the_exit_status() -> None:
    decided = Cause(kind=Cause.KILLED, message="ray.kill")
    cause = cause_of_exit(decided, -9, ["line"], NODE, 5)
    assert (cause.kind, cause.message, cause.exit_code, list(cause.last_log_lines)) == (
        Cause.KILLED,
        "ray.kill",
        -9,
        [],
    )
    bare = cause_of_exit(None, -9, ["line"], NODE, 5)
    assert (bare.kind, bare.message, list(bare.last_log_lines)) == (
        Cause.WORKER_DIED,
        "the process was ended by signal 9",
        ["line"],
    )
    assert "could not be read" in cause_of_exit(None, None, [], NODE, 5).message


def test_an_endpoint_is_asked_once_for_all_who_want_it() -> None:
    endpoints = EndpointTable()
    assert endpoints.wanted(worker(1), (worker(7), 1), tcp=False) is None and endpoints.is_first(worker(1), tcp=False)
    assert endpoints.wanted(worker(1), (worker(8), 2), tcp=False) is None
    assert not endpoints.is_first(worker(1), tcp=False) and endpoints.asked_for(worker(1)) == [False]
    assert endpoints.opened(worker(1), "h:1") == [(worker(7), 1), (worker(8), 2)]
    assert endpoints.wanted(worker(1), (worker(9), 3), tcp=False) == "h:1"
    assert endpoints.gone(worker(1)) == []
    assert endpoints.wanted(worker(1), (worker(9), 4), tcp=False) is None
    assert endpoints.gone(worker(1)) == [(worker(9), 4)]


def test_each_carrier_has_an_endpoint_and_a_worker_without_tcp_answers_with_the_other() -> None:
    endpoints = EndpointTable()
    endpoints.wanted(worker(1), (worker(7), 1), tcp=True)
    endpoints.wanted(worker(1), (worker(8), 2), tcp=False)
    assert endpoints.asked_for(worker(1)) == [True, False]
    assert endpoints.opened(worker(1), "tcp://h:1") == [(worker(7), 1)]
    assert endpoints.opened(worker(1), "h:2") == [(worker(8), 2)]
    assert endpoints.wanted(worker(1), (worker(9), 3), tcp=True) == "tcp://h:1"
    endpoints.wanted(worker(2), (worker(7), 4), tcp=True)
    assert endpoints.opened(worker(2), "h:3") == [(worker(7), 4)], "it knows of no TCP"
