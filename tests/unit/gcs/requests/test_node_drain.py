"""Draining: what the node, the others and its actors are told, and that a new leader goes on with it."""

import pytest
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from tests.unit.gcs.core_driver import CoreDriver, address, attach, node_id

DrainNode = gcs_pb2.DrainNode


def drain(gcs: CoreDriver, node: int, reason: int = DrainNode.PREEMPTION, deadline_s: float = 0) -> gcs_pb2.GcsReply:
    wanted = DrainNode(node_id=node_id(node), reason=reason, message="spot instance", deadline_s=deadline_s)  # type: ignore[arg-type]
    return gcs.ask(drain_node=wanted)


def test_a_node_that_drains_is_told_so_with_all_others_and_gets_no_actor() -> None:
    gcs = CoreDriver()
    for node in (1, 2):
        gcs.attach(node)
    assert drain(gcs, 1, deadline_s=30).node_drain.accepted
    assert gcs.take_told(1, "drain") == [gcs_pb2.Drain(deadline_s=30)]
    news = gcs.take_told(2, "node")[-1]
    assert isinstance(news, common_pb2.NodeInfo)
    assert (news.state, news.drain_message) == (common_pb2.NodeInfo.DRAINING, "spot instance")
    assert drain(gcs, 1).node_drain.accepted
    assert gcs.take_told(1, "drain") == []  # a repeat has no further effect
    gcs.register(gcs.spec(gcs.job()))
    assert gcs.take_told(1, "create_actor") == []
    assert len(gcs.take_told(2, "create_actor")) == 1


def test_restartable_actors_move_without_using_a_restart_and_others_stay() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    job = gcs.job()
    moving, staying = gcs.alive(gcs.spec(job, max_restarts=1)), gcs.alive(gcs.spec(job), worker=51)
    gcs.attach(2)
    drain(gcs, 1)
    ended = gcs.take_told(1, "end_actor")
    assert [(end.actor_id, end.graceful) for end in ended] == [(moving, True)]  # type: ignore[attr-defined]
    create = gcs.create(2)
    assert (create.spec.actor_id, create.incarnation) == (moving, 2)
    status = gcs.status(moving)
    assert (status.state, status.restarts) == (actor_pb2.RESTARTING, 0)
    assert gcs.status(staying).state == actor_pb2.ALIVE


def test_a_busy_node_is_not_drained_as_idle_and_unknown_ones_are_refused() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.alive(gcs.spec(gcs.job()))
    answer = drain(gcs, 1, DrainNode.IDLE_TERMINATION).node_drain
    assert not answer.accepted and "1 actors live there" in answer.reason
    assert drain(gcs, 9).error.code == gcs_pb2.Error.NOT_FOUND
    assert "deadline" in drain(gcs, 1, deadline_s=-1).error.message


async def test_a_new_leader_repeats_the_order_with_the_time_that_is_left() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    drain(gcs, 1, deadline_s=30)
    successor = await gcs.restarted()
    successor.time += 10
    successor.attach(1)
    (order,) = successor.take_told(1, "drain")
    assert isinstance(order, gcs_pb2.Drain) and order.deadline_s == pytest.approx(20)
    (info,) = successor.core.nodes.infos()
    assert info.state == common_pb2.NodeInfo.DRAINING


# ---- a node that was told to stop, without a drain before


def owned_elsewhere(gcs: CoreDriver, **more: object) -> list[actor_pb2.ActorSpec]:
    """Two actors whose owner is on node 9, which has nothing to run them."""
    job = gcs.job(driver_node=9)
    specs = [gcs.spec(job, cpus=1, **more) for _ in range(2)]  # type: ignore[arg-type]
    for spec in specs:
        spec.owner.CopyFrom(address(9, 1))
    return specs


def begun(gcs: CoreDriver, node: int, create: gcs_pb2.CreateActor) -> None:
    """The node says that it starts an actor."""
    taken = gcs_pb2.ActorReport(actor_id=create.spec.actor_id, incarnation=create.incarnation)
    gcs.say(node, heartbeat=gcs_pb2.Heartbeat(taken_actors=[taken]))


def leaves(gcs: CoreDriver, node: int) -> None:
    gcs.say(node, heartbeat=gcs_pb2.Heartbeat(leaves=True))


def test_actors_that_start_on_a_node_which_is_told_to_stop_begin_elsewhere_and_that_counts_once() -> None:
    gcs = CoreDriver()
    gcs.attach(9, message=attach(9, cpus=0))
    gcs.attach(1)
    begun_there, told_only = owned_elsewhere(gcs, max_restarts=1)
    gcs.register(begun_there)
    create = gcs.create(1)
    begun(gcs, 1, create)
    gcs.register(told_only)
    gcs.create(1)
    gcs.attach(2)
    leaves(gcs, 1)
    leaves(gcs, 1)
    assert gcs.take_told(1, "create_actor") == []
    assert {item.spec.actor_id for item in gcs.take_told(2, "create_actor")} == {  # type: ignore[attr-defined]
        begun_there.actor_id,
        told_only.actor_id,
    }
    gcs.failed(1, begun_there.actor_id, create.incarnation, common_pb2.DeathCause.NODE_DIED)
    gcs.say(1, drain_done=gcs_pb2.DrainDone())
    assert (gcs.status(begun_there.actor_id).restarts, gcs.status(told_only.actor_id).restarts) == (1, 0)
    assert gcs.status(begun_there.actor_id).state == actor_pb2.RESTARTING


def test_an_actor_that_a_node_left_without_beginning_it_starts_elsewhere_also_if_it_may_not_restart() -> None:
    gcs = CoreDriver()
    gcs.attach(9, message=attach(9, cpus=0))
    gcs.attach(1)
    lost, untouched = owned_elsewhere(gcs)
    gcs.register(lost)
    begun(gcs, 1, gcs.create(1))
    gcs.register(untouched)
    gcs.create(1)
    gcs.attach(2)
    leaves(gcs, 1)
    assert gcs.take_told(2, "create_actor") == [], "the node may have begun both, and say so next"
    gcs.say(1, drain_done=gcs_pb2.DrainDone())
    assert gcs.create(2).spec.actor_id == untouched.actor_id
    status = gcs.status(untouched.actor_id)
    assert (status.state, status.restarts) == (actor_pb2.PENDING_CREATION, 0)
    assert gcs.status(lost.actor_id).death_cause.kind == common_pb2.DeathCause.NODE_DIED
