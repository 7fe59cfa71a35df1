"""Nodes: attaching, silence, final death, and what they are told of each other."""

import pytest
from manta_gcs.kernel.events import Moment, SessionId
from manta_gcs.nodes.node import DELIVERIES_PER_S, SHARE_INTERVAL_S, NodeTable
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from tests.unit.gcs.core_driver import Cause, CoreDriver, address, attach, node_id


def test_an_attached_node_learns_of_the_cluster_and_the_others_of_it() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    job = gcs.job()
    gcs.attach(2)
    assert gcs.told[2][0].WhichOneof("body") == "attached"
    (attached,) = gcs.take_told(2, "attached")
    assert isinstance(attached, gcs_pb2.Attached)
    assert {n.node_id for n in attached.nodes} == {node_id(1), node_id(2)}
    assert [j.job_id for j in attached.jobs] == [job]
    (news,) = gcs.take_told(1, "node")
    assert isinstance(news, common_pb2.NodeInfo) and news.node_id == node_id(2)


def test_a_question_for_nodes_is_answered_behind_the_news_of_them() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.attach(2)
    gcs.say(1, look_up_nodes=gcs_pb2.LookUpNodes(node_ids=[node_id(2), b"?" * 28]))
    bodies = [message.WhichOneof("body") for message in gcs.told[1]]
    assert bodies.index("node") < bodies.index("nodes_looked_up")
    (answer,) = gcs.take_told(1, "nodes_looked_up")
    assert list(answer.node_ids) == [node_id(2), b"?" * 28]  # type: ignore[attr-defined]


def test_a_silent_node_dies_after_the_timeout_and_one_that_speaks_does_not() -> None:
    gcs = CoreDriver(death_timeout_s=5)
    gcs.attach(1)
    gcs.attach(2)
    gcs.pass_time(4)
    gcs.heartbeat(2)
    assert gcs.core.deadline() is not None
    gcs.pass_time(1)
    assert gcs.core.nodes.get(node_id(1)) is None and gcs.core.nodes.get(node_id(2)) is not None
    assert gcs.take_told(1, "declared_dead") and gcs.closed[1] == "declared dead"
    dead = [n for n in gcs.take_told(2, "node") if n.state == common_pb2.NodeInfo.DEAD]  # type: ignore[attr-defined]
    assert [n.node_id for n in dead] == [node_id(1)]  # type: ignore[attr-defined]
    assert "silent for 5.0 s" in dead[0].death_cause.message  # type: ignore[attr-defined]


def test_death_is_final() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.pass_time(6)
    gcs.attach(1, session=77)
    assert gcs.take_told(77, "declared_dead") and 77 in gcs.closed
    assert gcs.core.nodes.get(node_id(1)) is None


def test_a_node_that_reconnects_in_time_lives_on_and_its_old_stream_is_closed() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.pass_time(4)
    gcs.attach(1, session=11)
    assert 1 in gcs.closed
    gcs.detach(1, session=1)  # the late end of the old stream
    gcs.pass_time(4)
    assert gcs.core.nodes.get(node_id(1)) is not None
    gcs.say(1, session=1, heartbeat=gcs_pb2.Heartbeat())  # from the old stream: not a sign of life
    gcs.pass_time(1)
    assert gcs.core.nodes.get(node_id(1)) is None


def test_a_drained_node_leaves_at_once() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.say(1, drain_done=gcs_pb2.DrainDone())
    death = gcs.core.nodes.death_of(node_id(1))
    assert death is not None and death.death_cause.kind == Cause.INTENDED
    assert gcs.closed[1] == "drained" and not gcs.take_told(1, "declared_dead")


def test_free_resources_are_shared_in_batches() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.attach(2)
    gcs.pass_time(1)
    gcs.take_told(2, "resource_news")
    gcs.time += 0.2
    gcs.heartbeat(1, cpus=3)
    gcs.heartbeat(1, cpus=2)
    assert len(gcs.take_told(2, "resource_news")) == 1
    deadline = gcs.core.deadline()
    assert deadline is not None and deadline <= gcs.time + 0.1
    gcs.pass_time(0.11)
    (last,) = gcs.take_told(2, "resource_news")
    (news,) = last.nodes  # type: ignore[attr-defined]
    assert dict(news.available.amounts) == {"CPU": 20_000}


def test_a_large_cluster_in_which_all_changes_is_told_less_often() -> None:
    """The work of it is who changed times who hears; a single change is told as soon as in a small one."""
    table = NodeTable(death_timeout_s=1e9)

    def attach_all(at: float) -> None:
        for number in range(1_000):
            info = common_pb2.NodeInfo(node_id=number.to_bytes(28, "big"))
            table.attach(gcs_pb2.AttachNode(info=info), SessionId(number), Moment(at, at))

    def next_share_after(at: float) -> float:
        assert table.share_resources(Moment(at, at))
        table.attach(gcs_pb2.AttachNode(info=common_pb2.NodeInfo(node_id=bytes(28))), SessionId(0), Moment(at, at))
        due = table.deadline()
        assert due is not None and not table.share_resources(Moment(due - 0.001, at))
        return due - at

    attach_all(0.0)
    assert next_share_after(1.0) == 1_000 * 1_000 / DELIVERIES_PER_S
    assert next_share_after(9.0) == pytest.approx(SHARE_INTERVAL_S)


def test_what_changed_on_several_nodes_goes_out_in_one_message_to_each() -> None:
    gcs = CoreDriver()
    for number in (1, 2, 3):
        gcs.attach(number)
    gcs.pass_time(1)
    for number in (1, 2, 3):
        gcs.take_told(number, "resource_news")
    gcs.heartbeat(1, cpus=3)
    gcs.heartbeat(2, cpus=2)
    gcs.pass_time(0.11)
    for number in (1, 2, 3):
        (news,) = gcs.take_told(number, "resource_news")
        assert {item.node_id for item in news.nodes} == {node_id(1), node_id(2)}  # type: ignore[attr-defined]


def test_a_higher_epoch_makes_the_leader_step_down_unless_it_was_disproved() -> None:
    gcs = CoreDriver(epoch=7)
    gcs.attach(1, message=attach(1, epoch=9))
    assert gcs.stepped_down is not None and gcs.stepped_down.claimed_epoch == 9
    again = CoreDriver(epoch=8)
    again.core._disproved_epoch = 9
    again.attach(1, message=attach(1, epoch=9))
    assert again.stepped_down is None
    (refused,) = again.take_told(1, "refused")
    assert "another store" in refused.message  # type: ignore[attr-defined]


def test_deaths_are_told_to_the_other_nodes_once() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.attach(2)
    report = gcs_pb2.WorkersDiedReport(report_id=1, workers=[common_pb2.DeadWorker(address=address(1, 9))])
    gcs.say(1, workers_died=report)
    gcs.say(1, workers_died=report)
    assert len(gcs.take_told(2, "workers_died")) == 1
    assert len(gcs.take_told(1, "workers_died_received")) == 2
    gcs.attach(3)
    (attached,) = gcs.take_told(3, "attached")
    assert [w.address for w in attached.recent_deaths] == [address(1, 9)]  # type: ignore[attr-defined]


def test_a_malformed_node_id_closes_that_stream_only() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    message = attach(2)
    message.info.node_id = b"short"
    gcs.attach(2, message=message)
    assert "malformed" in gcs.closed[2] and 1 not in gcs.closed


def test_time_in_which_nobody_listened_is_not_the_nodes_silence() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.core.nodes.excuse(10)
    gcs.pass_time(10)
    assert gcs.core.nodes.get(node_id(1)) is not None
    assert gcs.core.nodes.expired(Moment(gcs.time + 5, 0)) == [node_id(1)]


def test_actors_are_not_sent_to_a_node_that_is_out_of_touch() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    job = gcs.job()
    gcs.detach(1)
    spec = gcs.spec(job)
    gcs.register(spec)
    assert "out of touch" in gcs.status(spec.actor_id).pending_reason
    gcs.attach(1, session=5)
    assert gcs.create(5).spec.actor_id == spec.actor_id
    assert gcs.status(spec.actor_id).state == actor_pb2.PENDING_CREATION


def test_the_use_of_an_object_store_is_told_with_its_node_and_forgotten_with_its_stream() -> None:
    gcs = CoreDriver()
    gcs.attach(1)

    def shown() -> int:
        return gcs.core.nodes.get(node_id(1)).arena_used  # type: ignore[union-attr]

    gcs.say(1, heartbeat=gcs_pb2.Heartbeat(arena_used=700))
    gcs.say(1, heartbeat=gcs_pb2.Heartbeat())
    assert shown() == 700
    gcs.say(1, heartbeat=gcs_pb2.Heartbeat(arena_used=0))
    assert shown() == 0
    gcs.say(1, heartbeat=gcs_pb2.Heartbeat(arena_used=5))
    gcs.attach(1)
    assert shown() == 0
