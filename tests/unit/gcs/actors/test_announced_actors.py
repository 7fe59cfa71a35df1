"""Actors whose constructors take what does not exist yet: known, and not started before RegisterActor brings it."""

from __future__ import annotations

import pytest
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from tests.unit.gcs.core_driver import Cause, CoreDriver, address, node_id

Error = gcs_pb2.Error


@pytest.fixture
def gcs() -> CoreDriver:
    """The driver's node, and one with the owner of most actors here."""
    driver = CoreDriver()
    driver.attach(1)
    driver.attach(2)
    return driver


def announce(gcs: CoreDriver, spec: actor_pb2.ActorSpec, get_if_exists: bool = False) -> gcs_pb2.GcsReply:
    return gcs.ask(announce_actor=gcs_pb2.AnnounceActor(spec=spec, get_if_exists=get_if_exists))


def announced(gcs: CoreDriver, **more: object) -> actor_pb2.ActorSpec:
    """One that a worker of node 2 owns."""
    spec = gcs.spec(gcs.job(), **more)  # type: ignore[arg-type]
    spec.owner.CopyFrom(address(2, 5))
    status = announce(gcs, spec).actor_found.status
    assert status.state == actor_pb2.DEPENDENCIES_UNREADY and "arguments" in status.pending_reason
    return spec


def owner_dies(gcs: CoreDriver) -> None:
    died = common_pb2.DeadWorker(address=address(2, 5), cause=Cause(kind=Cause.WORKER_DIED, message="killed"))
    gcs.say(2, workers_died=gcs_pb2.WorkersDiedReport(report_id=1, workers=[died]))


def creates(gcs: CoreDriver) -> list[object]:
    return [*gcs.take_told(1, "create_actor"), *gcs.take_told(2, "create_actor")]


def test_it_starts_when_its_arguments_are_brought_and_each_request_has_one_effect(gcs: CoreDriver) -> None:
    spec = announced(gcs)
    assert announce(gcs, spec).actor_found.existed
    assert creates(gcs) == []
    spec.arguments.add().value.kind = 1
    for _ in range(2):
        assert gcs.register(spec).actor_found.existed
        assert announce(gcs, spec).actor_found.status.state == actor_pb2.PENDING_CREATION
    (create,) = creates(gcs)
    assert isinstance(create, gcs_pb2.CreateActor)
    assert len(create.spec.arguments) == 1 and create.spec.definition.pickled == b"class Counter"


def test_those_who_watch_it_hear_that_it_ended_with_its_owner(gcs: CoreDriver) -> None:
    spec = announced(gcs)
    gcs.ask(subscribe_actors=gcs_pb2.SubscribeActors(actor_ids=[spec.actor_id]))
    gcs.pushed.clear()
    owner_dies(gcs)
    (status,) = gcs.pushed
    assert (status.state, status.death_cause.kind) == (actor_pb2.DEAD, Cause.OWNER_DIED)
    assert not gcs.register(spec).HasField("error"), "its owner's last message may come late"
    assert creates(gcs) == []


def test_a_detached_one_ends_with_its_creator_as_long_as_its_arguments_are_missing(gcs: CoreDriver) -> None:
    unready, ready = announced(gcs, detached=True), announced(gcs, detached=True)
    gcs.register(ready)
    owner_dies(gcs)
    assert gcs.status(unready.actor_id).state == actor_pb2.DEAD
    assert gcs.status(ready.actor_id).state == actor_pb2.PENDING_CREATION
    late = gcs.spec(gcs.job(), detached=True)
    late.owner.CopyFrom(address(2, 5))
    assert announce(gcs, late).actor_found.status.death_cause.kind == Cause.OWNER_DIED


def test_it_ends_with_the_node_of_its_owner_also_for_a_new_leader(gcs: CoreDriver) -> None:
    first = announced(gcs, detached=True)
    gcs.time += 4
    gcs.heartbeat(1)
    gcs.pass_time(2)
    assert gcs.core.nodes.death_of(node_id(2)) is not None
    assert gcs.status(first.actor_id).death_cause.kind == Cause.OWNER_DIED


async def test_a_new_leader_waits_for_its_arguments_too(gcs: CoreDriver) -> None:
    spec = announced(gcs)
    successor = await gcs.restarted()
    successor.attach(1)
    successor.attach(2)
    assert successor.status(spec.actor_id).state == actor_pb2.DEPENDENCIES_UNREADY and creates(successor) == []
    successor.register(spec)
    assert len(creates(successor)) == 1


def test_only_a_kill_for_good_ends_it(gcs: CoreDriver) -> None:
    spec = announced(gcs)
    gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id))
    status = gcs.status(spec.actor_id)
    assert (status.state, status.restarts) == (actor_pb2.DEPENDENCIES_UNREADY, 0)
    gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id, no_restart=True))
    assert gcs.status(spec.actor_id).state == actor_pb2.DEAD
    gcs.register(spec)
    assert creates(gcs) == []


def test_one_that_nobody_refers_to_any_more_never_starts(gcs: CoreDriver) -> None:
    spec = announced(gcs)
    gcs.ask(actor_out_of_scope=gcs_pb2.ActorOutOfScope(actor_id=spec.actor_id))
    assert gcs.register(spec).actor_found.status.death_cause.kind == Cause.OUT_OF_SCOPE
    assert creates(gcs) == []


def test_one_whose_arguments_cannot_be_made_is_forsaken(gcs: CoreDriver) -> None:
    spec, started = announced(gcs), announced(gcs)
    gcs.register(started)
    cause = Cause(kind=Cause.INIT_FAILED, message="an argument is an error")
    for actor_id in (spec.actor_id, spec.actor_id, started.actor_id, b"u" * 16):
        forsaken = gcs_pb2.ForsakeActor(actor_id=actor_id, cause=cause)
        assert gcs.ask(forsake_actor=forsaken).HasField("done")
    assert gcs.status(spec.actor_id).death_cause == cause
    assert gcs.status(started.actor_id).state == actor_pb2.PENDING_CREATION


def test_its_name_is_taken_and_who_gets_it_by_name_does_not_start_it(gcs: CoreDriver) -> None:
    spec = announced(gcs, name="n")
    assert announce(gcs, gcs.spec(gcs.job(), name="n")).error.code == Error.ALREADY_EXISTS
    other = gcs.spec(gcs.job(), name="n")
    for found in (announce(gcs, other, get_if_exists=True), gcs.register(other, get_if_exists=True)):
        assert found.actor_found.existed and found.actor_found.spec.actor_id == spec.actor_id
    assert creates(gcs) == []
