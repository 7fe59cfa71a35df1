"""The life of actors: registration, names, placing, restarts and all the ways to die."""

import random

import pytest
from manta_common.ids import new_actor_id
from manta_gcs.actors.actor_state import LEGAL, ActorState, IllegalMove
from manta_gcs.core.core import GcsCore
from manta_gcs.jobs.identity import ClusterIdentity
from manta_gcs.kernel.commands import Note
from manta_gcs.kernel.record import Key, Table, id_of
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from tests.unit.gcs.core_driver import Cause, CoreDriver, address, attach, node_id, worker_id

Error = gcs_pb2.Error


def core_that_keeps(dead_actors: int) -> GcsCore:
    return GcsCore(ClusterIdentity("cluster", "session"), 7, 5.0, random.Random(1), dead_actor_limit=dead_actors)


@pytest.fixture
def gcs() -> CoreDriver:
    driver = CoreDriver()
    driver.attach(1)
    return driver


def test_an_actor_is_placed_started_and_alive(gcs: CoreDriver) -> None:
    spec = gcs.spec(gcs.job(), cpus=1)
    reply = gcs.register(spec).actor_found
    assert not reply.existed
    create = gcs.create(1)
    assert (create.spec.actor_id, create.incarnation) == (spec.actor_id, 1)
    assert create.spec.definition.pickled == b"class Counter"
    assert gcs.status(spec.actor_id).state == actor_pb2.PENDING_CREATION
    gcs.started(1, create, worker=50, pid=99)
    status = gcs.status(spec.actor_id)
    assert (status.state, status.pid, status.address) == (actor_pb2.ALIVE, 99, address(1, 50))


def test_a_repeated_registration_has_one_effect(gcs: CoreDriver) -> None:
    spec = gcs.spec(gcs.job(), name="n")
    gcs.register(spec)
    again = gcs.register(spec).actor_found
    assert again.existed
    assert len(gcs.take_told(1, "create_actor")) == 1


def test_a_taken_name_is_refused_or_found_and_free_again_after_the_death(gcs: CoreDriver) -> None:
    job = gcs.job()
    first = gcs.spec(job, name="n", ray_namespace="a")
    gcs.register(first)
    second = gcs.spec(job, name="n", ray_namespace="a")
    refused = gcs.register(second).error
    assert refused.code == Error.ALREADY_EXISTS and first.actor_id.hex() in refused.message
    found = gcs.register(second, get_if_exists=True).actor_found
    assert found.existed and found.spec.actor_id == first.actor_id
    assert not gcs.register(gcs.spec(job, name="n", ray_namespace="b")).actor_found.existed
    gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=first.actor_id, no_restart=True))
    assert gcs.ask(find_actor=gcs_pb2.FindActor(name="n", ray_namespace="a")).error.code == Error.NOT_FOUND
    assert not gcs.register(second).actor_found.existed
    listing = gcs.ask(list_named_actors=gcs_pb2.ListNamedActors(all_namespaces=True)).named_actors
    assert [(i.ray_namespace, i.name) for i in listing.items] == [("a", "n"), ("b", "n")]


@pytest.mark.parametrize(("max_restarts", "deaths", "end"), [(0, 1, "DEAD"), (2, 2, "RESTARTING"), (2, 3, "DEAD")])
def test_a_process_that_dies_is_replaced_up_to_max_restarts(
    gcs: CoreDriver, max_restarts: int, deaths: int, end: str
) -> None:
    spec = gcs.spec(gcs.job(), max_restarts=max_restarts)
    gcs.register(spec)
    for number in range(deaths):
        create = gcs.create(1)
        gcs.started(1, create, worker=50 + number)
        gcs.failed(1, spec.actor_id, create.incarnation, Cause.WORKER_DIED)
    status = gcs.status(spec.actor_id)
    assert actor_pb2.ActorState.Name(status.state) == end
    assert status.restarts == min(deaths, max_restarts)


def test_max_restarts_of_minus_one_has_no_end(gcs: CoreDriver) -> None:
    spec = gcs.spec(gcs.job(), max_restarts=-1)
    gcs.register(spec)
    for _ in range(20):
        create = gcs.create(1)
        gcs.failed(1, spec.actor_id, create.incarnation, Cause.WORKER_DIED)
    assert gcs.create(1).incarnation == 21


@pytest.mark.parametrize("kind", [Cause.INIT_FAILED, Cause.INTENDED, Cause.RUNTIME_ENV_FAILED])
def test_some_ends_are_never_followed_by_a_restart(gcs: CoreDriver, kind: common_pb2.DeathCause.Kind) -> None:
    spec = gcs.spec(gcs.job(), max_restarts=-1)
    gcs.register(spec)
    gcs.failed(1, spec.actor_id, gcs.create(1).incarnation, kind)
    status = gcs.status(spec.actor_id)
    assert (status.state, status.death_cause.kind) == (actor_pb2.DEAD, kind)


def test_a_late_report_of_an_earlier_incarnation_is_told_to_end(gcs: CoreDriver) -> None:
    spec = gcs.spec(gcs.job(), max_restarts=1)
    gcs.register(spec)
    first = gcs.create(1)
    gcs.failed(1, spec.actor_id, first.incarnation, Cause.WORKER_DIED)
    gcs.started(1, first, worker=50)
    (end,) = gcs.take_told(1, "end_actor")
    assert isinstance(end, gcs_pb2.EndActor) and end.incarnation == first.incarnation
    assert gcs.status(spec.actor_id).state == actor_pb2.RESTARTING


def test_kill_without_restart_ends_it_and_a_repeat_does_nothing(gcs: CoreDriver) -> None:
    actor_id = gcs.alive(gcs.spec(gcs.job(), max_restarts=5))
    for _ in range(2):
        assert gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=actor_id, no_restart=True)).HasField("done")
    (end,) = gcs.take_told(1, "end_actor")
    assert isinstance(end, gcs_pb2.EndActor) and not end.graceful and end.cause.kind == Cause.KILLED
    assert gcs.status(actor_id).state == actor_pb2.DEAD


@pytest.mark.parametrize(("max_restarts", "kills", "end"), [(0, 1, "DEAD"), (1, 1, "RESTARTING"), (1, 2, "DEAD")])
@pytest.mark.parametrize("placed", [False, True])
def test_kill_with_restart_counts_also_before_the_start(
    gcs: CoreDriver, max_restarts: int, kills: int, end: str, placed: bool
) -> None:
    if not placed:
        gcs.heartbeat(1, cpus=0)
    spec = gcs.spec(gcs.job(), cpus=1, held=1, max_restarts=max_restarts)
    gcs.register(spec)
    for _ in range(kills):
        assert gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id)).HasField("done")
    status = gcs.status(spec.actor_id)
    assert actor_pb2.ActorState.Name(status.state) == end
    assert (status.restarts, status.death_cause.kind) == (min(kills, max_restarts), Cause.KILLED)
    gcs.heartbeat(1, cpus=4)
    assert len(gcs.take_told(1, "create_actor")) == (end != "DEAD") + placed * kills


def test_kill_with_restart_ends_the_process_and_starts_another(gcs: CoreDriver) -> None:
    actor_id = gcs.alive(gcs.spec(gcs.job(), max_restarts=5))
    gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=actor_id))
    assert gcs.take_told(1, "end_actor")
    assert gcs.create(1).incarnation == 2


def test_out_of_scope_ends_gracefully_and_spares_detached_actors(gcs: CoreDriver) -> None:
    job = gcs.job()
    plain, detached = gcs.alive(gcs.spec(job), worker=50), gcs.alive(gcs.spec(job, detached=True), worker=51)
    for actor_id in (plain, detached):
        gcs.ask(actor_out_of_scope=gcs_pb2.ActorOutOfScope(actor_id=actor_id))
    (end,) = gcs.take_told(1, "end_actor")
    assert isinstance(end, gcs_pb2.EndActor) and end.graceful and end.actor_id == plain
    assert gcs.status(detached).state == actor_pb2.ALIVE


def test_actors_end_with_their_job_and_detached_ones_do_not(gcs: CoreDriver) -> None:
    job = gcs.job()
    plain, detached = gcs.alive(gcs.spec(job), worker=50), gcs.alive(gcs.spec(job, detached=True), worker=51)
    gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
    assert gcs.status(plain).death_cause.kind == Cause.JOB_FINISHED
    assert gcs.status(detached).state == actor_pb2.ALIVE
    assert [m.job_id for m in gcs.take_told(1, "job_ended")] == [job]  # type: ignore[attr-defined]


def test_actors_end_with_their_owner(gcs: CoreDriver) -> None:
    job = gcs.job()
    parent = gcs.alive(gcs.spec(job, max_restarts=1), worker=50)
    spec = gcs.spec(job, max_restarts=-1)
    spec.owner.CopyFrom(address(1, 50))
    child = gcs.alive(spec, worker=51)
    died = common_pb2.DeadWorker(address=address(1, 50), cause=Cause(kind=Cause.WORKER_DIED, message="signal 9"))
    gcs.say(1, workers_died=gcs_pb2.WorkersDiedReport(report_id=3, workers=[died]))
    assert gcs.status(parent).state == actor_pb2.RESTARTING
    assert gcs.status(child).death_cause.kind == Cause.OWNER_DIED
    (received,) = gcs.take_told(1, "workers_died_received")
    assert received.report_id == 3  # type: ignore[attr-defined]


def test_an_actor_whose_owner_is_known_to_be_dead_is_dead_from_the_start(gcs: CoreDriver) -> None:
    job = gcs.job()
    gcs.say(1, workers_died=gcs_pb2.WorkersDiedReport(workers=[common_pb2.DeadWorker(address=address(1, 60))]))
    spec = gcs.spec(job)
    spec.owner.CopyFrom(address(1, 60))
    gcs.register(spec)
    assert gcs.status(spec.actor_id).death_cause.kind == Cause.OWNER_DIED
    assert not gcs.take_told(1, "create_actor")


def test_a_dead_node_takes_its_actors_along_and_those_that_may_restart_move(gcs: CoreDriver) -> None:
    job = gcs.job()
    movable, fixed = gcs.spec(job, max_restarts=1), gcs.spec(job)
    gcs.alive(movable, worker=50)
    gcs.alive(fixed, worker=51)
    gcs.attach(2)
    for spec in (movable, fixed):
        spec.owner.node_id = node_id(2)
    gcs.pass_time(3)
    gcs.heartbeat(2)
    # The driver lives on node 1 and goes with it: detached is what survives.
    detached = gcs.spec(job, max_restarts=1, detached=True)
    gcs.register(detached)
    for node in (1, 2):
        for create in gcs.take_told(node, "create_actor"):
            gcs.started(node, create, worker=52)  # type: ignore[arg-type]
    home = gcs.status(detached.actor_id).address.node_id
    gcs.pass_time(3)
    assert gcs.core.nodes.death_of(node_id(1)) is not None
    assert gcs.status(fixed.actor_id).state == actor_pb2.DEAD
    status = gcs.status(detached.actor_id)
    assert status.address.node_id == node_id(2)
    assert status.restarts == (1 if home == node_id(1) else 0)


def test_an_actor_that_outlived_its_job_is_created_with_the_job_s_record(gcs: CoreDriver) -> None:
    job = gcs.job()
    spec = gcs.spec(job, max_restarts=1, detached=True)
    gcs.register(spec)
    create = gcs.create(1)
    assert not create.HasField("job")  # its node knows of a job that runs
    gcs.started(1, create, worker=50)
    gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
    died = common_pb2.DeadWorker(address=address(1, 50), cause=Cause(kind=Cause.WORKER_DIED, message="signal 9"))
    gcs.say(1, workers_died=gcs_pb2.WorkersDiedReport(report_id=3, workers=[died]))
    again = gcs.create(1)
    assert again.incarnation == create.incarnation + 1
    assert again.job.job_id == job and again.job.finished


def test_a_rejected_actor_goes_elsewhere_and_not_back_before_the_nodes_next_word(gcs: CoreDriver) -> None:
    spec = gcs.spec(gcs.job(), held=1)
    gcs.register(spec)
    create = gcs.create(1)
    rejected = gcs_pb2.ActorReport(actor_id=spec.actor_id, incarnation=create.incarnation, rejected=True)
    gcs.say(1, actor_report=rejected)
    assert not gcs.take_told(1, "create_actor")
    assert "out of touch" in gcs.status(spec.actor_id).pending_reason
    gcs.heartbeat(1)
    again = gcs.create(1)
    assert again.incarnation == 2
    gcs.say(1, actor_report=rejected)  # late repeat of the first answer
    gcs.started(1, again, worker=50)
    assert gcs.status(spec.actor_id).state == actor_pb2.ALIVE


def test_what_was_promised_is_not_promised_twice(gcs: CoreDriver) -> None:
    job = gcs.job()
    specs = [gcs.spec(job, held=2) for _ in range(3)]
    for spec in specs:
        gcs.register(spec)
    assert len(gcs.take_told(1, "create_actor")) == 2
    assert "1 lack free CPU" in gcs.status(specs[2].actor_id).pending_reason
    demand = gcs.ask(cluster_status=gcs_pb2.ClusterStatusRequest()).cluster_status.pending_actors
    assert [(d.count, dict(d.resources.amounts)) for d in demand] == [(1, {"CPU": 20_000})]
    gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=specs[0].actor_id, no_restart=True))
    assert gcs.create(1).spec.actor_id == specs[2].actor_id


def test_an_actor_waits_for_a_node_that_can_hold_it_and_lets_others_pass(gcs: CoreDriver) -> None:
    job = gcs.job()
    big, small = gcs.spec(job, held=8), gcs.spec(job, held=1)
    gcs.register(big)
    gcs.register(small)
    assert gcs.create(1).spec.actor_id == small.actor_id
    assert "infeasible" in gcs.status(big.actor_id).pending_reason
    gcs.attach(2, message=attach(2, cpus=16))
    assert gcs.create(2).spec.actor_id == big.actor_id


def test_an_actor_that_holds_nothing_goes_to_a_busy_node_with_cpus_and_never_to_one_without() -> None:
    gcs = CoreDriver()
    gcs.attach(1, message=attach(1, cpus=0))
    job = gcs.job()
    for _ in range(3):
        gcs.register(gcs.spec(job, cpus=1))
    assert not gcs.take_told(1, "create_actor"), "a node without CPUs takes none, and it waits for one that has"
    gcs.attach(2, message=attach(2, cpus=2))
    assert len(gcs.take_told(2, "create_actor")) == 3
    gcs.heartbeat(2, cpus=0)
    for _ in range(5):
        gcs.register(gcs.spec(job, cpus=1))
    assert len(gcs.take_told(2, "create_actor")) == 5 and not gcs.take_told(1, "create_actor")
    gcs.register(gcs.spec(job, held=1))
    assert not gcs.take_told(2, "create_actor"), "what it holds must be free"


def test_a_hard_affinity_to_an_unknown_node_is_unschedulable(gcs: CoreDriver) -> None:
    spec = gcs.spec(gcs.job(), max_restarts=-1)
    spec.strategy.node_affinity.node_id = node_id(9)
    gcs.register(spec)
    cause = gcs.status(spec.actor_id).death_cause
    assert cause.kind == Cause.UNSCHEDULABLE and node_id(9).hex() in cause.message


def test_subscribers_hear_every_change_until_the_death(gcs: CoreDriver) -> None:
    spec = gcs.spec(gcs.job(), max_restarts=1)
    now = gcs.ask(subscribe_actors=gcs_pb2.SubscribeActors(actor_ids=[spec.actor_id])).actor_statuses
    assert not now.statuses  # its registration may be on the way
    gcs.register(spec)
    gcs.started(1, gcs.create(1), worker=50)
    gcs.failed(1, spec.actor_id, 1, Cause.WORKER_DIED)
    gcs.failed(1, spec.actor_id, gcs.create(1).incarnation, Cause.WORKER_DIED)
    names = [actor_pb2.ActorState.Name(status.state) for status in gcs.pushed]
    assert names == ["PENDING_CREATION", "ALIVE", "RESTARTING", "DEAD"]


def test_subscribing_to_an_unknown_actor_of_a_finished_job_says_that_it_is_dead(gcs: CoreDriver) -> None:
    job = gcs.job()
    gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
    asked = gcs_pb2.SubscribeActors(actor_ids=[new_actor_id(job)])
    (status,) = gcs.ask(subscribe_actors=asked).actor_statuses.statuses
    assert status.state == actor_pb2.DEAD


def test_one_class_is_stored_once_and_goes_with_its_last_actor(gcs: CoreDriver) -> None:
    job = gcs.job()
    specs = [gcs.spec(job) for _ in range(3)]
    for spec in specs:
        gcs.register(spec)

    def definitions() -> int:
        return sum(key.table is Table.DEFINITION for key in gcs.stored)

    assert definitions() == 1
    stored = gcs.stored[Key(Table.ACTOR_SPEC, id_of(specs[0].actor_id))].actor.spec
    assert not stored.definition.pickled
    for spec in specs:
        gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id, no_restart=True))
    assert definitions() == 0


@pytest.mark.parametrize("field", ["actor_id", "owner", "job", "strategy", "restarts"])
def test_a_malformed_registration_is_refused_and_changes_nothing(gcs: CoreDriver, field: str) -> None:
    spec = gcs.spec(gcs.job(), name="n")
    match field:
        case "actor_id":
            spec.actor_id = b"short"
        case "owner":
            spec.owner.worker_id = b""
        case "job":
            spec.job_id = b"none"
        case "strategy":
            spec.strategy.node_affinity.node_id = b"short"
        case "restarts":
            spec.max_restarts = -2
    before = dict(gcs.stored)
    assert gcs.register(spec).error.code == Error.INVALID
    assert gcs.stored == before
    assert not gcs.take_told(1, "create_actor")


def test_only_the_tables_moves_are_possible() -> None:
    assert set(LEGAL) == set(ActorState)
    assert LEGAL[ActorState.DEAD] == set()
    driver = CoreDriver()
    driver.attach(1)
    actor_id = driver.alive(driver.spec(driver.job()))
    actor = driver.core.actors.table.get(actor_id)
    assert actor is not None
    with pytest.raises(IllegalMove, match="ALIVE to PENDING_CREATION"):
        actor.move(ActorState.PENDING_CREATION)


def test_counts_follow_every_move(gcs: CoreDriver) -> None:
    job = gcs.job()
    first = gcs.alive(gcs.spec(job), worker=50)
    gcs.alive(gcs.spec(job), worker=51)
    gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=first, no_restart=True))
    counts = {state: n for state, n in gcs.core.actor_counts().items() if n}
    assert counts == {ActorState.ALIVE: 1, ActorState.DEAD: 1}
    assert worker_id(51) != worker_id(50)


def test_children_of_a_detached_actor_outlive_the_job_and_new_ones_may_come(gcs: CoreDriver) -> None:
    job = gcs.job()
    gcs.alive(gcs.spec(job, detached=True), worker=50)
    child, grandchild = gcs.spec(job), gcs.spec(job)
    child.owner.CopyFrom(address(1, 50))
    grandchild.owner.CopyFrom(address(1, 51))
    gcs.alive(child, worker=51)
    gcs.alive(grandchild, worker=52)
    gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
    assert gcs.status(child.actor_id).state == gcs.status(grandchild.actor_id).state == actor_pb2.ALIVE
    late = gcs.spec(job)
    late.owner.CopyFrom(address(1, 50))
    assert not gcs.register(late).actor_found.existed
    assert gcs.register(gcs.spec(job)).error.code == Error.INVALID


def test_a_kill_of_one_incarnation_spares_its_successor(gcs: CoreDriver) -> None:
    actor_id = gcs.alive(gcs.spec(gcs.job(), max_restarts=5))
    for _ in range(2):
        gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=actor_id, incarnation=1))
    assert gcs.status(actor_id).restarts == 1
    assert gcs.create(1).incarnation == 2


def test_an_actor_that_waits_long_is_told_of_once(gcs: CoreDriver) -> None:
    notes: list[Note] = []
    gcs.register(gcs.spec(gcs.job(), held=9))
    for _ in range(4):
        gcs.time += 11
        gcs.core.nodes.excuse(11)
        notes += [c for c in gcs.core.settle(gcs.now) if isinstance(c, Note)]
    (complaint,) = notes
    assert complaint.event == "actor_waits" and "infeasible" in str(complaint.fields["reason"])


def test_a_circle_of_owners_is_no_trap(gcs: CoreDriver) -> None:
    job = gcs.job()
    spec = gcs.spec(job)
    spec.owner.CopyFrom(address(1, 50))
    actor_id = gcs.alive(spec, worker=50)
    gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
    assert gcs.status(actor_id).state == actor_pb2.DEAD


async def test_the_longest_dead_are_forgotten_here_and_in_the_store_and_after_a_restart_too() -> None:
    gcs = CoreDriver(core=core_that_keeps(2))
    gcs.attach(1)
    job = gcs.job()
    dead = []
    for number in range(4):
        spec = gcs.spec(job, max_restarts=0)
        gcs.register(spec)
        create = gcs.create(1)
        gcs.started(1, create, worker=50 + number)
        gcs.failed(1, spec.actor_id, create.incarnation, Cause.WORKER_DIED)
        dead.append(spec.actor_id)
        gcs.time += 1
    alive = gcs.spec(job)
    gcs.register(alive)
    assert [gcs.core.actors.table.get(actor_id) is None for actor_id in dead] == [True, True, False, False]
    assert gcs.core.actor_counts()[ActorState.DEAD] == 2
    kept = {id_of(actor_id) for actor_id in (*dead[2:], alive.actor_id)}
    assert {key.id for key in gcs.stored if key.table in (Table.ACTOR, Table.ACTOR_SPEC)} == kept
    assert gcs.status(dead[3]).death_cause.kind == Cause.WORKER_DIED
    listed = gcs.ask(list_actors=gcs_pb2.ListActors()).actor_list
    assert {item.status.actor_id for item in listed.items} == {*dead[2:], alive.actor_id}
    successor = await gcs.restarted(dead_actor_limit=1)
    assert {actor.id for actor in successor.core.actors.table} == {dead[3], alive.actor_id}
    assert {key.id for key in successor.stored if key.table is Table.ACTOR} == {id_of(dead[3]), id_of(alive.actor_id)}
    assert successor.core.actor_counts()[ActorState.DEAD] == 1


def test_a_dead_actor_keeps_no_arguments_and_little_memory(gcs: CoreDriver) -> None:
    job = gcs.job()
    table = gcs.core.actors.table
    for number in range(100):
        spec = gcs.spec(job, max_restarts=0)
        spec.args.data = b"x" * 10_000
        gcs.register(spec)
        create = gcs.create(1)
        gcs.started(1, create, worker=number % 100)
        gcs.failed(1, spec.actor_id, create.incarnation, Cause.WORKER_DIED)
    assert gcs.core.actor_counts()[ActorState.DEAD] == 100
    assert table.dead_bytes < 100 * 1_000
