from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_raylet.kernel.commands import BringArguments, EndWorker, KillWorker, RefuseLease, SpillLease, StartWorker
from manta_raylet.workers.worker_table import WorkerState

from tests.unit.raylet.core_driver import HERE, JOB, THERE, CoreDriver, client

Strategy = common_pb2.SchedulingStrategy


def starts(driver: CoreDriver) -> int:
    return sum(isinstance(command, StartWorker) for command in driver.commands)


def test_as_many_workers_start_as_the_resources_allow() -> None:
    driver = CoreDriver(cpu=2)
    driver.want(backlog=5)
    assert starts(driver) == 2
    driver.start()
    assert len(driver.grants()) == 2
    assert len(driver.core.leases.queue) == 3


def test_a_returned_lease_serves_the_next_unit_with_the_same_worker() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(backlog=2)
    driver.start()
    (first,) = driver.grants()
    driver.give_back(first)
    (second,) = driver.grants()
    assert second.worker_id == first.worker_id and starts(driver) == 0


def test_a_worker_that_becomes_idle_serves_before_the_one_that_starts() -> None:
    driver = CoreDriver(cpu=2)
    first = driver.lease()
    driver.want(request_id=2)
    begun = driver.commands
    assert starts(driver) == 1
    driver.give_back(first)
    assert [lease.worker_id for lease in driver.grants()] == [first.worker_id]
    driver.commands = begun
    driver.start()
    assert driver.core.pool.table.count(WorkerState.IDLE) == 1


def test_a_retired_worker_ends_and_another_one_serves() -> None:
    driver = CoreDriver(cpu=1)
    first = driver.lease()
    driver.want(request_id=2)
    commands = driver.give_back(first, retire=True)
    assert any(isinstance(c, EndWorker) and c.worker_id == first.worker_id for c in commands)
    assert starts(driver) == 1


def test_a_retired_worker_that_others_need_stays_and_serves_nobody() -> None:
    driver = CoreDriver(cpu=1)
    first = driver.lease()
    driver.give_back(first, retire=True)
    worker = driver.core.worker(first.worker_id)
    assert worker is not None
    driver.core.exit_declined(worker, driver.now)
    assert worker.state is WorkerState.RETIRED
    driver.core.exit_declined(worker, driver.now)  # a second word changes nothing
    assert driver.lease(request_id=2).worker_id != first.worker_id
    driver.now += 1_000
    driver.core.tick(driver.now)
    assert worker.state is WorkerState.RETIRED
    driver.core.job_ended(JOB, driver.now)
    assert any(isinstance(c, KillWorker) and c.worker_id == first.worker_id for c in driver.settle())


def test_a_worker_that_used_a_gpu_is_never_used_again() -> None:
    driver = CoreDriver(cpu=1, GPU=1)
    lease = driver.lease(resources={"GPU": 1})
    assert lease.gpu_ids == ("0",)
    assert any(isinstance(c, EndWorker) for c in driver.give_back(lease))


def test_requests_of_other_threads_or_environments_do_not_share_workers() -> None:
    driver = CoreDriver(cpu=4)
    first = driver.lease()
    driver.give_back(first)
    for more in ({"num_threads": 2}, {"runtime_env": '{"env_vars": {"A": "1"}}'}, {"job": driver.job(2)}):
        driver.want(request_id=hash(str(more)) % 1000 + 2, **more)
        assert starts(driver) == 1, more
        driver.start()


def test_a_cancelled_request_frees_what_it_had_taken() -> None:
    driver = CoreDriver(cpu=1)
    driver.want()
    driver.core.leases.cancelled(client(1), 1)
    assert driver.core.ledger.available == driver.core.ledger.total
    driver.start()
    assert driver.grants() == []


def test_a_lower_count_gives_up_what_awaits_a_worker() -> None:
    driver = CoreDriver(cpu=2)
    driver.want(backlog=2)
    began = driver.commands
    driver.want(backlog=1)
    assert driver.core.ledger.available.get("CPU") == 10_000
    driver.commands = began
    driver.start()
    assert len(driver.grants()) == 1


def test_the_workers_of_a_holder_that_dies_are_killed_and_its_requests_forgotten() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(who=1)
    driver.want(who=1, request_id=2, backlog=3)
    driver.core.client_gone(client(1), driver.now)
    assert KillWorker(lease.worker_id) in driver.settle()
    assert len(driver.core.leases.queue) == 0
    assert driver.core.ledger.available == driver.core.ledger.total
    driver.die(lease.worker_id)
    assert driver.death.death.cause.kind == common_pb2.DeathCause.LEASE_HOLDER_DIED
    assert driver.death.holder is None


def test_a_worker_that_dies_ends_its_lease() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(who=1)
    driver.die(lease.worker_id, status=3)
    assert driver.death.holder == client(1)
    assert (driver.death.death.cause.exit_code, driver.death.death.cause.kind) == (3, common_pb2.DeathCause.WORKER_DIED)
    assert driver.core.ledger.available == driver.core.ledger.total
    assert not driver.core.leases.returned(client(1), lease.id, False, driver.now)


def test_fifty_nested_workers_run_on_one_cpu() -> None:
    driver = CoreDriver(cpu=1)
    leases = []
    for depth in range(50):
        lease = driver.lease(who=1, request_id=depth + 1)
        worker = driver.core.worker(lease.worker_id)
        assert worker is not None
        driver.core.blocked(worker)
        leases.append((lease, worker))
    for lease, worker in reversed(leases):
        driver.core.unblocked(worker)
        driver.want(who=2)
        assert not driver.grants(), "the CPUs that woke are owed"
        driver.give_back(lease)
    assert driver.core.ledger.available.get("CPU") == 0
    driver.start()
    assert len(driver.grants()) == 1 or driver.core.leases.leases == 1


def test_a_kind_of_worker_that_never_comes_up_is_refused_after_some_attempts() -> None:
    driver = CoreDriver(cpu=1)
    driver.want()
    for _ in range(3):
        (start,) = [c for c in driver.commands if isinstance(c, StartWorker)]
        driver.die(start.worker_id, status=1)
    (refusal,) = [c for c in driver.commands if isinstance(c, RefuseLease)]
    assert refusal.reason == raylet_pb2.LeaseRefused.WORKER_START_FAILED
    assert "exit code 1" in refusal.message
    assert driver.core.ledger.available == driver.core.ledger.total


def test_a_start_that_the_zygote_took_along_is_asked_again_under_another_id() -> None:
    driver = CoreDriver(cpu=1)
    driver.want()
    (start,) = [c for c in driver.commands if isinstance(c, StartWorker)]
    worker = driver.core.worker(start.worker_id)
    assert worker
    driver.core.start_lost(worker, driver.now)
    driver.settle()
    (again,) = [c for c in driver.commands if isinstance(c, StartWorker)]
    assert again.worker_id != start.worker_id


def test_workers_of_an_unknown_job_start_when_it_is_known() -> None:
    from manta_common.ids import job_id

    driver = CoreDriver(cpu=1)
    driver.want(job=job_id(9))
    assert starts(driver) == 0
    driver.job(9)
    driver.settle()
    assert starts(driver) == 1


def test_what_does_not_fit_here_goes_to_a_node_where_it_does() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=8)
    driver.want(backlog=3, resources={"CPU": 4})
    (spill,) = [c for c in driver.commands if isinstance(c, SpillLease)]
    assert (spill.node_id, spill.address, spill.hops) == (THERE, "T:1", 1)
    assert spill.count == 3, "two run there now; the third can run only there and waits there"


def test_what_is_busy_here_goes_where_there_is_room_and_the_rest_waits() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=2)
    driver.want(backlog=5)
    (spill,) = [c for c in driver.commands if isinstance(c, SpillLease)]
    assert spill.count == 2 and starts(driver) == 1
    assert len(driver.core.leases.queue) == 2


def test_a_request_that_no_node_can_hold_waits_as_demand_and_runs_when_one_joins() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(resources={"magic": 1})
    assert driver.commands == []
    (demand,) = driver.core.demands()
    assert demand.count == 1 and "infeasible" in demand.reason
    driver.node(magic=1)
    driver.settle()
    assert [type(c) for c in driver.commands] == [SpillLease]


def test_a_request_that_was_sent_on_eight_times_stays() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=8)
    driver.lease()
    driver.want(request_id=2, hops=8)
    assert driver.commands == []
    driver.want(request_id=3, hops=7)
    assert [type(c) for c in driver.commands] == [SpillLease]


def test_what_was_sent_on_to_the_limit_goes_on_after_a_pause() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=8)
    driver.lease()
    driver.want(request_id=2, hops=9)
    driver.now = 1.9
    assert driver.settle() == [], "a hop beyond the limit doubles the pause"
    driver.now = 2.1
    (spill,) = driver.settle()
    assert isinstance(spill, SpillLease) and spill.hops == 10


def test_units_that_came_by_different_ways_are_counted_apart_and_cancelled_together() -> None:
    driver = CoreDriver(cpu=1)
    driver.lease(request_id=9)
    driver.want(hops=1, backlog=2)
    driver.want(hops=2, backlog=3)
    assert len(driver.core.leases.queue) == 5
    driver.core.leases.cancelled(client(1), 1)
    assert len(driver.core.leases.queue) == 0


def test_a_promise_that_no_news_confirm_is_forgotten() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=1)
    driver.lease()
    driver.want(request_id=2)
    assert [type(c) for c in driver.commands] == [SpillLease]
    driver.want(request_id=3)
    assert driver.commands == []
    for second in (1, 2):
        driver.core.tick(second)
    assert [type(c) for c in driver.settle()] == [SpillLease]


def test_a_request_whose_labels_only_others_have_does_not_wait_here() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.nodes.put(
        common_pb2.NodeInfo(
            node_id=THERE,
            raylet_address="T:1",
            labels={"zone": "b"},
            total=common_pb2.Resources(amounts={"CPU": 10_000}),
        )
    )
    selector = Strategy()
    selector.label_selector.add(key="zone", operator=common_pb2.LabelConstraint.IN, values=["b"])
    driver.want(backlog=3, strategy=selector)
    (spill,) = [c for c in driver.commands if isinstance(c, SpillLease)]
    assert spill.count == 3, "one runs there now, the others wait there"


def test_an_affinity_says_what_to_do_with_a_busy_node() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=1)
    driver.lease()
    affinity = common_pb2.NodeAffinity(node_id=HERE, fail_on_unavailable=True)
    driver.want(request_id=2, strategy=Strategy(node_affinity=affinity))
    (refusal,) = driver.commands
    assert isinstance(refusal, RefuseLease) and "no room" in refusal.message
    affinity = common_pb2.NodeAffinity(node_id=HERE, soft=True, spill_on_unavailable=True)
    driver.want(request_id=3, strategy=Strategy(node_affinity=affinity))
    assert [type(c) for c in driver.commands] == [SpillLease]


def test_a_hard_affinity_to_a_dead_node_is_refused_and_a_soft_one_is_not() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.nodes.put(common_pb2.NodeInfo(node_id=THERE, state=common_pb2.NodeInfo.DEAD))
    hard = Strategy(node_affinity=common_pb2.NodeAffinity(node_id=THERE))
    driver.want(strategy=hard)
    (refusal,) = [c for c in driver.commands if isinstance(c, RefuseLease)]
    assert refusal.reason == raylet_pb2.LeaseRefused.UNSCHEDULABLE and THERE.hex() in refusal.message
    soft = Strategy(node_affinity=common_pb2.NodeAffinity(node_id=THERE, soft=True))
    driver.want(request_id=2, strategy=soft)
    assert starts(driver) == 1


def test_an_affinity_to_this_node_waits_here_while_it_is_busy() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=8)
    driver.lease()
    driver.want(request_id=2, strategy=Strategy(node_affinity=common_pb2.NodeAffinity(node_id=HERE)))
    assert driver.commands == []


def test_an_affinity_to_another_node_goes_there_even_when_it_is_busy() -> None:
    driver = CoreDriver(cpu=1)
    driver.node(CPU=1)
    affinity = Strategy(node_affinity=common_pb2.NodeAffinity(node_id=THERE))
    driver.want(backlog=2, strategy=affinity)
    (spill,) = [c for c in driver.commands if isinstance(c, SpillLease)]
    assert spill.count == 2


def test_spread_requests_go_around() -> None:
    driver = CoreDriver(cpu=4)
    driver.node(CPU=4)
    driver.want(backlog=4, strategy=Strategy(simple=Strategy.SPREAD))
    assert [c.count for c in driver.commands if isinstance(c, SpillLease)] == [2]
    assert starts(driver) == 2


def test_a_task_goes_where_most_of_its_arguments_are() -> None:
    driver = CoreDriver(cpu=4)
    driver.node(CPU=4)
    driver.want(argument_bytes={THERE: 1_000_000, HERE: 10})
    assert [type(c) for c in driver.commands] == [SpillLease]
    driver.want(request_id=2, argument_bytes={THERE: 10, HERE: 1_000_000})
    assert starts(driver) == 1


def test_holders_are_told_when_a_request_begins_to_wait() -> None:
    driver = CoreDriver(cpu=1)
    driver.lease(who=1)
    assert driver.core.notices.take(0) == []
    driver.want(who=2)
    assert driver.core.notices.take(0) == [client(1)]
    driver.settle()
    assert driver.core.notices.take(1) == [] and driver.core.notices.next_at() is None, "told once"
    driver.want(who=3)
    assert driver.core.notices.take(0.01) == [], "at most once in 20 ms"
    assert driver.core.notices.next_at() == 0.02
    assert driver.core.notices.take(0.02) == [client(1)]


def test_a_client_is_not_told_of_its_own_queue_of_the_same_kind() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(who=1, backlog=3)
    driver.start()
    assert driver.core.notices.take(0) == []
    driver.want(who=1, request_id=2, resources={"CPU": 0.5})
    assert driver.core.notices.take(0) == [client(1)]


def test_who_gets_a_lease_while_others_wait_is_told_so_again() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(who=1)
    driver.want(who=2)
    driver.want(who=3)
    driver.core.notices.take(0)
    driver.give_back(lease)
    (lease,) = driver.grants()
    assert driver.core.notices.take(1) == [lease.client]


def test_idle_workers_beyond_the_cpus_end_after_the_timeout() -> None:
    driver = CoreDriver(cpu=1)
    leases = []
    for number in range(3):
        lease = driver.lease(request_id=number + 1)
        worker = driver.core.worker(lease.worker_id)
        assert worker
        driver.core.blocked(worker)
        leases.append(lease)
    for lease in leases:
        driver.give_back(lease)
    driver.now = 59
    driver.core.tick(driver.now)
    assert driver.settle() == []
    driver.now = 60
    driver.core.tick(driver.now)
    ended = [c.worker_id for c in driver.settle() if isinstance(c, EndWorker)]
    assert ended == [lease.worker_id for lease in leases[:2]]


def test_a_worker_that_does_not_report_in_time_is_killed() -> None:
    driver = CoreDriver(cpu=1)
    driver.want()
    driver.now = 61
    driver.core.tick(driver.now)
    commands = driver.settle()
    assert [type(c) for c in commands] == [KillWorker, StartWorker]


def test_a_draining_node_sends_its_queue_on_and_grants_nothing() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.spillback.draining = True
    driver.want()
    assert [type(c) for c in driver.commands] == [RefuseLease]
    driver.node(CPU=1)
    driver.want(request_id=2)
    assert [type(c) for c in driver.commands] == [SpillLease]


def test_an_idle_worker_that_declines_to_end_is_used_again() -> None:
    driver = CoreDriver(cpu=1)
    kept = driver.lease()
    worker = driver.core.worker(kept.worker_id)
    assert worker
    driver.core.blocked(worker)
    driver.give_back(driver.lease(request_id=2))
    driver.now = 1
    driver.give_back(kept)
    driver.now = 61
    driver.core.tick(driver.now)
    (end,) = [c for c in driver.settle() if isinstance(c, EndWorker)]
    assert not end.at_once
    asked = driver.core.worker(end.worker_id)
    assert asked
    driver.core.exit_declined(asked, driver.now)
    assert asked.state is WorkerState.IDLE and asked.cause is None
    driver.core.kill(asked, common_pb2.DeathCause(message="other"), driver.now)
    driver.core.exit_declined(asked, driver.now)
    assert asked.state is WorkerState.ENDING


def test_the_states_of_tasks_follow_their_leases() -> None:
    driver = CoreDriver(cpu=2)
    driver.want(1, backlog=3)
    none = {"PENDING_NODE_ASSIGNMENT": 0, "SUBMITTED_TO_WORKER": 0, "RUNNING": 0, "RUNNING_IN_RAY_GET": 0}
    assert driver.core.leases.task_states() == {**none, "PENDING_NODE_ASSIGNMENT": 1, "SUBMITTED_TO_WORKER": 2}
    driver.start()
    lease, _ = driver.grants()
    assert driver.core.leases.task_states() == {**none, "PENDING_NODE_ASSIGNMENT": 1, "RUNNING": 2}
    worker = driver.core.worker(lease.worker_id)
    assert worker is not None
    driver.core.blocked(worker)
    assert driver.core.leases.task_states()["RUNNING_IN_RAY_GET"] == 1


def arguments(*names: bytes) -> tuple[raylet_pb2.LeaseArgument, ...]:
    return tuple(raylet_pb2.LeaseArgument(object_id=name * 28, size=1 << 20, node_ids=[THERE]) for name in names)


def brought(driver: CoreDriver) -> list[bytes]:
    orders = [command for command in driver.commands if isinstance(command, BringArguments)]
    return [argument.object_id[:1] for order in orders for argument in order.arguments]


def test_arguments_are_brought_while_a_request_waits_for_a_worker_or_for_room() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(arguments=arguments(b"a"))
    assert brought(driver) == [b"a"]  # its worker has to start
    driver.start()
    assert len(driver.grants()) == 1 and brought(driver) == []
    driver.want(request_id=2, arguments=arguments(b"b", b"c"))
    assert brought(driver) == [b"b", b"c"]
    driver.settle()
    assert brought(driver) == []
    driver.want(request_id=2, backlog=2, arguments=arguments(b"c", b"d"))
    assert brought(driver) == [b"c", b"d"]


def test_arguments_are_not_brought_for_what_is_granted_at_once_or_cannot_run_here() -> None:
    driver = CoreDriver(cpu=1)
    first = driver.lease()
    driver.give_back(first)
    driver.want(request_id=2, arguments=arguments(b"a"))
    assert len(driver.grants()) == 1 and brought(driver) == []
    driver.want(request_id=3, resources={"CPU": 100}, arguments=arguments(b"b"))
    assert brought(driver) == []
