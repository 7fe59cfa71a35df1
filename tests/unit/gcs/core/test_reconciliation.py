"""A new leader: loading what was stored, and agreeing with what the nodes report."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from manta_gcs.kernel.record import Key, RecordError, Table, decode, id_of, record, root_of
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2, records_pb2

from tests.unit.gcs.core_driver import Cause, CoreDriver, address, attach, node_id


async def cluster() -> tuple[CoreDriver, actor_pb2.ActorSpec]:
    """One node with one actor alive on it."""
    gcs = CoreDriver()
    gcs.attach(1)
    spec = gcs.spec(gcs.job(), name="n", max_restarts=1)
    gcs.alive(spec, worker=50)
    return gcs, spec


def living(spec: actor_pb2.ActorSpec, incarnation: int = 1, worker: int = 50) -> gcs_pb2.ActorReport:
    return gcs_pb2.ActorReport(
        actor_id=spec.actor_id, incarnation=incarnation, address=address(1, worker), pid=99, repr_name=""
    )


async def test_a_new_leader_knows_actors_names_jobs_nodes_and_kv() -> None:
    gcs, spec = await cluster()
    gcs.ask(kv_put=gcs_pb2.KvPut(ray_namespace="fun/ny", key=b"\x00k", value=b"v"))
    successor = await gcs.restarted()
    assert successor.status(spec.actor_id) == gcs.status(spec.actor_id)
    found = successor.ask(find_actor=gcs_pb2.FindActor(name="n")).actor_found
    assert found.spec.actor_id == spec.actor_id
    value = successor.ask(kv_get=gcs_pb2.KvGet(ray_namespace="fun/ny", key=b"\x00k")).kv_value
    assert (value.found, value.value) == (True, b"v")
    assert successor.core.identity.cluster_id == "cluster" and successor.core.identity.session_name == "session"
    assert successor.job(driver=2) == bytes([0, 0, 0, 2])


async def test_an_actor_that_the_node_still_has_stays_alive() -> None:
    gcs, spec = await cluster()
    successor = await gcs.restarted()
    successor.attach(1, message=attach(1, actors=[living(spec)], epoch=7))
    assert successor.status(spec.actor_id).state == actor_pb2.ALIVE
    assert not successor.take_told(1, "create_actor")


async def test_an_actor_that_the_node_lost_unseen_is_restarted() -> None:
    gcs, spec = await cluster()
    successor = await gcs.restarted()
    died = common_pb2.DeadWorker(address=address(1, 50), cause=Cause(kind=Cause.WORKER_DIED, message="signal 11"))
    successor.attach(1, message=attach(1, recent_deaths=[died]))
    status = successor.status(spec.actor_id)
    assert (status.state, status.restarts, status.death_cause.message) == (actor_pb2.RESTARTING, 1, "signal 11")
    assert successor.create(1).incarnation == 2


async def test_a_start_whose_message_was_lost_is_sent_again_with_the_same_incarnation() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    spec = gcs.spec(gcs.job())
    gcs.register(spec)
    first = gcs.create(1)
    successor = await gcs.restarted()
    successor.attach(1)
    assert successor.create(1) == first


async def test_a_start_that_is_under_way_on_the_node_is_not_sent_again() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    spec = gcs.spec(gcs.job())
    gcs.register(spec)
    successor = await gcs.restarted()
    under_way = gcs_pb2.ActorReport(actor_id=spec.actor_id, incarnation=1)
    successor.attach(1, message=attach(1, actors=[under_way]))
    assert not successor.take_told(1, "create_actor")
    successor.started(1, gcs.create(1), worker=50)
    assert successor.status(spec.actor_id).state == actor_pb2.ALIVE


async def test_a_node_must_end_what_the_records_do_not_place_there() -> None:
    gcs, spec = await cluster()
    successor = await gcs.restarted()
    stranger = gcs_pb2.ActorReport(actor_id=b"a" * 16, incarnation=1, address=address(1, 51))
    successor.attach(1, message=attach(1, actors=[stranger, living(spec, incarnation=1)]))
    (attached,) = successor.take_told(1, "attached")
    assert isinstance(attached, gcs_pb2.Attached)
    assert [end.actor_id for end in attached.ended_actors] == [b"a" * 16]


async def test_a_node_that_does_not_come_back_dies_counted_from_the_new_leaders_start() -> None:
    gcs, spec = await cluster()
    gcs.time += 1000
    successor = await gcs.restarted()
    successor.pass_time(4)
    assert successor.core.nodes.get(node_id(1)) is not None
    successor.pass_time(1)
    assert successor.core.nodes.get(node_id(1)) is None
    assert successor.status(spec.actor_id).death_cause.kind in (Cause.NODE_DIED, Cause.OWNER_DIED, Cause.JOB_FINISHED)


async def test_an_actor_waiting_for_a_node_is_placed_by_the_new_leader() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    spec = gcs.spec(gcs.job(), held=8)
    gcs.register(spec)
    successor = await gcs.restarted()
    successor.attach(1)
    successor.attach(2, message=attach(2, cpus=8))
    create = successor.create(2)
    assert create.spec.definition.pickled == b"class Counter"


async def test_a_write_cut_short_is_mended() -> None:
    gcs, spec = await cluster()
    job_key = Key(Table.JOB, id_of(spec.job_id))
    ended = gcs_pb2.JobRecord()
    ended.CopyFrom(gcs.stored[job_key].job)
    ended.finished = True
    gcs.stored[job_key] = record(job=ended)  # the job's end was written, its actors' was not
    gcs.stored[Key(Table.NAME, id_of("", "stale"))] = record(name=records_pb2.StoredName(actor_id=b"x" * 16))
    successor = await gcs.restarted()
    assert successor.status(spec.actor_id).death_cause.kind == Cause.JOB_FINISHED
    names = successor.ask(list_named_actors=gcs_pb2.ListNamedActors(all_namespaces=True)).named_actors
    assert not names.items


async def test_a_nodes_death_whose_consequences_were_not_written_is_mended() -> None:
    gcs = CoreDriver()
    for number in (1, 2, 3):
        gcs.attach(number)
    job = gcs.job(driver_node=3)
    specs = [gcs.spec(job, max_restarts=1) for _ in range(3)]
    for spec, home, owner_node in zip(specs, (1, 2, 1), (1, 1, 2), strict=True):
        spec.owner.node_id = node_id(owner_node)
        spec.strategy.node_affinity.node_id = node_id(home)
        spec.strategy.node_affinity.soft = True
        gcs.alive(spec, node=home, worker=50 + owner_node + 2 * home)
    node_key = Key(Table.NODE, id_of(node_id(2)))
    dead = records_pb2.StoredRecord()
    dead.CopyFrom(gcs.stored[node_key])
    dead.node.info.state = common_pb2.NodeInfo.DEAD
    gcs.stored[node_key] = dead
    successor = await gcs.restarted()
    states = [actor_pb2.ActorState.Name(successor.status(spec.actor_id).state) for spec in specs]
    assert states == ["ALIVE", "RESTARTING", "DEAD"]
    assert successor.core.jobs.is_running(job)


async def test_a_record_over_256_kib_survives_in_chunks() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    spec = gcs.spec(gcs.job())
    spec.definition.pickled = bytes(range(256)) * 8192  # 2 MiB
    gcs.register(spec)
    successor = await gcs.restarted()
    successor.attach(1)
    assert successor.create(1).spec.definition.pickled == spec.definition.pickled


def test_a_record_of_a_foreign_version_stops_the_start_and_names_both() -> None:
    stored = record(kv=records_pb2.StoredKv(value=b"v"))
    stored.version_minor = 9
    with pytest.raises(RecordError, match=r"0\.9.*0\.3") as caught:
        decode(b"/manta/v1/default/kv/ns/6b", stored.SerializeToString(), root_of("default"))
    assert "kv/ns/6b" in str(caught.value)
    stored.version_minor = 2
    decode(b"/manta/v1/default/kv/ns/6b", stored.SerializeToString(), root_of("default"))


def test_a_damaged_record_is_named() -> None:
    with pytest.raises(RecordError, match=r"kv/ns/6b.*are no record"):
        decode(b"/manta/v1/default/kv/ns/6b", b"\xff\xff\xff", root_of("default"))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["register", "start", "fail", "reject", "kill", "restart", "scope", "die", "job", "node", "beat"]
        ),
        st.integers(0, 30),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
async def test_whatever_happens_the_records_tell_a_new_leader_the_same(steps: list[tuple[str, int]]) -> None:
    gcs = CoreDriver()
    for number in (1, 2):
        gcs.attach(number)
    job = gcs.job()
    specs: list[actor_pb2.ActorSpec] = []
    creates: list[tuple[int, gcs_pb2.CreateActor]] = []
    worker = 0
    for what, pick in steps:
        for session in (1, 2, 3):
            creates += [(session, create) for create in gcs.take_told(session, "create_actor")]  # type: ignore[misc]
        spec = specs[pick % len(specs)] if specs else None
        on, create = creates[pick % len(creates)] if creates else (0, None)
        if what == "register":
            new = gcs.spec(job, held=pick % 3, max_restarts=pick % 4 - 1, name="n" * (pick % 5), detached=pick % 7 == 0)
            if not gcs.register(new).HasField("error"):
                specs.append(new)
        elif what == "start" and create is not None:
            worker = (worker + 1) % 100
            gcs.started(on, create, worker)
        elif what == "fail" and create is not None:
            gcs.failed(on, create.spec.actor_id, create.incarnation, Cause.WORKER_DIED)
        elif what == "reject" and create is not None:
            report = gcs_pb2.ActorReport(actor_id=create.spec.actor_id, incarnation=create.incarnation, rejected=True)
            gcs.say(on, actor_report=report)
        elif what in ("kill", "restart") and spec is not None:
            gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id, no_restart=what == "kill"))
        elif what == "scope" and spec is not None:
            gcs.ask(actor_out_of_scope=gcs_pb2.ActorOutOfScope(actor_id=spec.actor_id))
        elif what == "die":
            dead = common_pb2.DeadWorker(address=address(2, pick), cause=Cause(kind=Cause.WORKER_DIED))
            gcs.say(2, workers_died=gcs_pb2.WorkersDiedReport(workers=[dead]))
        elif what == "job" and pick == 0:
            gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
        elif what == "node" and pick < 2:
            gcs.say(2, drain_done=gcs_pb2.DrainDone())
        elif what == "beat":
            gcs.heartbeat(1, cpus=pick % 5)
    table = gcs.core.actors.table
    for actor in table:
        assert (actor.node_id is not None) >= (actor.state.name == "ALIVE")
        waiting = actor.id in gcs.core.actors.placement._queue
        assert waiting == (actor.waiting and actor.node_id is None)
        assert (actor in table.on_node(node_id(1)) + table.on_node(node_id(2))) == (
            not actor.dead and actor.node_id is not None
        )
    successor = await gcs.restarted()
    assert {a.id: (a.state, a.incarnation, a.restarts) for a in successor.core.actors.table} == {
        a.id: (a.state, a.incarnation, a.restarts) for a in table
    }
    every = gcs_pb2.ListNamedActors(all_namespaces=True)
    assert successor.ask(list_named_actors=every).named_actors == gcs.ask(list_named_actors=every).named_actors
    assert successor.core.jobs.all() == gcs.core.jobs.all()
    assert successor.core.actor_counts() == gcs.core.actor_counts()
