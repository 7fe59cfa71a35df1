import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from manta_common.credentials import Token
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_proto.raylet.v1 import raylet_pb2

from tests.integration.raylet.node_process import Peer, TestNode, alive, ended
from tests.integration.raylet.remote_peer import RemotePeer
from tests.integration.raylet.scripted_gcs import ScriptedGcs

JOB = b"\0\0\0\1"


@pytest.fixture
async def token() -> Token:
    return Token(secrets.token_hex(16).encode())


@pytest.fixture
async def gcs(token: Token) -> AsyncIterator[ScriptedGcs]:
    one = ScriptedGcs(token, epoch=5)
    one.jobs.append(gcs_pb2.JobRecord(job_id=JOB))
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def node(tmp_path: Path, token: Token, gcs: ScriptedGcs) -> AsyncIterator[TestNode]:
    one = TestNode(tmp_path, token)
    try:
        await one.start(gcs=gcs.address)
        yield one
    finally:
        await one.stop()


async def driver_of(node: TestNode) -> Peer:
    peer = await Peer.connect(node, job_id=JOB)
    peer.job_id = JOB
    node.clients.append(peer)
    return peer


async def test_a_lower_epoch_is_not_obeyed_and_a_higher_one_is_told(gcs: ScriptedGcs, node: TestNode) -> None:
    driver = await driver_of(node)
    driver.want(1)
    lease = await driver.granted()
    gcs.say(epoch=4, job_ended=gcs_pb2.JobEnded(job_id=JOB))
    await gcs.until(lambda: len(gcs.attached) == 2)
    assert [attach.epoch for attach in gcs.attached] == [0, 5]
    assert alive(lease.pid), "the deposed leader's order was not obeyed"
    gcs.epoch = 6
    gcs.say(job_ended=gcs_pb2.JobEnded(job_id=JOB))
    await ended(lease.pid)


async def test_the_hint_of_a_replica_that_does_not_lead_is_followed(
    tmp_path: Path, token: Token, gcs: ScriptedGcs
) -> None:
    standby = ScriptedGcs(token)
    standby.refuse_with = gcs_pb2.Error(code=gcs_pb2.Error.NOT_LEADER, message="standby", leader=gcs.address)
    await standby.start()
    node = TestNode(tmp_path, token)
    try:
        await node.start(gcs=standby.address)
        assert len(standby.attached) >= 1 and len(gcs.attached) == 1
    finally:
        await node.stop()
        await standby.stop()


async def test_a_declared_dead_node_kills_its_workers_and_attaches_under_another_id(
    gcs: ScriptedGcs, node: TestNode
) -> None:
    driver = await driver_of(node)
    driver.want(1)
    lease = await driver.granted()
    gcs.say(declared_dead=gcs_pb2.DeclaredDead(reason="silent for 5 s"))
    await ended(lease.pid)
    await gcs.until(lambda: len(gcs.attached) == 2)
    first, second = gcs.attached
    assert first.info.node_id != second.info.node_id
    assert first.info.raylet_address == second.info.raylet_address
    assert second.available.amounts == {"CPU": 20_000}
    with pytest.raises(ConnectionError, match=r"declared dead|peer|closed|ended"):
        await driver.take(raylet_pb2.LEASE_GRANTED)
    again = await driver_of(node)
    assert again.welcome.node_id == second.info.node_id
    again.want(1)
    await again.granted()


async def test_heartbeats_tell_what_is_free_soon_after_it_changes(gcs: ScriptedGcs, node: TestNode) -> None:
    driver = await driver_of(node)
    gcs.heard.clear()
    driver.want(1, backlog=3)
    await driver.granted()
    # Between those that tell of none and of all grants there may be one that tells of some.
    await gcs.until(
        lambda: [b for b in gcs.said("heartbeat") if b.HasField("available") and "CPU" not in b.available.amounts]
    )
    demands = await gcs.until(lambda: [d for b in gcs.said("heartbeat") for d in b.demands if d.count == 1])
    assert "waiting" in demands[0].reason


async def test_deaths_are_repeated_until_they_are_received(gcs: ScriptedGcs, node: TestNode) -> None:
    gcs.acknowledge = False
    driver = await driver_of(node)
    driver.want(1)
    lease = await driver.granted()
    os.kill(lease.pid, signal.SIGKILL)
    await gcs.until(lambda: gcs.said("workers_died"))
    gcs.heard.clear()
    gcs.acknowledge = True
    gcs.end_stream()
    (report,) = await gcs.until(lambda: gcs.said("workers_died"))
    assert report.workers[0].address == lease.worker
    attach = gcs.attached[-1]
    assert [dead.address for dead in attach.recent_deaths] == [lease.worker]


async def test_an_actor_is_told_again_after_the_stream_broke(gcs: ScriptedGcs, node: TestNode) -> None:
    spec = actor_pb2.ActorSpec(actor_id=b"a" * 12 + JOB, job_id=JOB, class_name="Counter")
    gcs.say(create_actor=gcs_pb2.CreateActor(spec=spec, incarnation=3))
    (report,) = await gcs.until(lambda: gcs.said("actor_report"))
    assert report.incarnation == 3 and alive(report.pid)
    gcs.end_stream()
    await gcs.until(lambda: len(gcs.attached) == 2)
    assert list(gcs.attached[1].actors) == [report]
    gcs.heard.clear()
    cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.KILLED, message="ray.kill")
    gcs.say(end_actor=gcs_pb2.EndActor(actor_id=spec.actor_id, incarnation=3, cause=cause))
    (report,) = await gcs.until(lambda: gcs.said("actor_report"))
    assert report.failure.kind == common_pb2.DeathCause.KILLED
    await ended(report.pid)


async def test_a_request_that_fits_only_elsewhere_is_sent_there_and_its_death_is_told(
    gcs: ScriptedGcs, node: TestNode
) -> None:
    driver = await driver_of(node)
    total = ResourceSet.from_floats({"CPU": 16}).to_proto()
    there = common_pb2.NodeInfo(node_id=b"T" * 28, raylet_address="127.0.0.1:9", total=total)
    gcs.say(node=there)
    await driver.take(raylet_pb2.NODES, lambda message: message.nodes[0].node_id == there.node_id)
    driver.want(1, resources={"CPU": 8}, backlog=2)
    spilled = await driver.take(raylet_pb2.LEASE_SPILLED)
    assert (spilled.node_id, spilled.raylet_address) == (there.node_id, "127.0.0.1:9")
    assert (spilled.count, spilled.hops) == (2, 1)
    # Full there: what fits nowhere else still goes there to wait, and a node that dies takes its processes along.
    watched = common_pb2.WorkerAddress(node_id=there.node_id, worker_id=b"w" * 28)
    driver.send(raylet_pb2.WATCH, raylet_pb2.Watch(workers=[watched]))
    assert await driver.nothing_more(raylet_pb2.WORKERS_DIED)
    gcs.say(node=common_pb2.NodeInfo(node_id=there.node_id, state=common_pb2.NodeInfo.DEAD))
    died = await driver.take(raylet_pb2.WORKERS_DIED)
    assert died.workers[0].address == watched
    assert died.workers[0].cause.kind == common_pb2.DeathCause.NODE_DIED
    driver.want(2, resources={"CPU": 8})
    assert await driver.nothing_more(raylet_pb2.LEASE_SPILLED)


async def test_deaths_on_other_nodes_reach_their_watchers(gcs: ScriptedGcs, node: TestNode) -> None:
    driver = await driver_of(node)
    far = common_pb2.WorkerAddress(node_id=b"F" * 28, worker_id=b"w" * 28)
    driver.send(raylet_pb2.WATCH, raylet_pb2.Watch(workers=[far]))
    assert await driver.nothing_more(raylet_pb2.WORKERS_DIED)
    cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.WORKER_DIED, exit_code=1)
    dead = common_pb2.DeadWorker(address=far, cause=cause)
    gcs.say(workers_died=gcs_pb2.WorkersDiedNotice(workers=[dead]))
    died = await driver.take(raylet_pb2.WORKERS_DIED)
    assert list(died.workers) == [dead]


async def test_sigterm_says_goodbye_to_the_gcs(gcs: ScriptedGcs, node: TestNode) -> None:
    node.raylet.process.terminate()
    await gcs.until(lambda: gcs.said("drain_done"))
    assert await node.raylet.wait(5) == 0


@pytest.mark.parametrize("ends", ["the lease", "the deadline"])
async def test_a_drained_raylet_says_so_and_ends(gcs: ScriptedGcs, node: TestNode, ends: str) -> None:
    driver = await driver_of(node)
    driver.want(1)
    lease = await driver.granted()
    gcs.say(drain=gcs_pb2.Drain(deadline_s=0 if ends == "the lease" else 0.2))
    await gcs.until(lambda: "node_drains" in node.raylet.log.read_text() or gcs.said("drain_done"))
    if ends == "the lease":
        assert gcs.said("drain_done") == [] and alive(lease.pid)
        driver.give_back(lease)
    await gcs.until(lambda: gcs.said("drain_done"))
    assert await node.raylet.wait() == 0
    await ended(lease.pid)


async def test_what_a_worker_of_another_node_leased_outlives_the_job_until_that_worker_dies(
    gcs: ScriptedGcs, node: TestNode
) -> None:
    driver, remote = await driver_of(node), RemotePeer(node, JOB)
    await remote.hello()
    wanted = raylet_pb2.LeasesWanted(request_id=1, job_id=JOB, backlog=1)
    wanted.resources.CopyFrom(ResourceSet.from_floats({"CPU": 1}).to_proto())
    await remote.send(raylet_pb2.LEASES_WANTED, wanted)
    spared = raylet_pb2.LeaseGranted.FromString(await remote.take(raylet_pb2.LEASE_GRANTED))
    driver.want(1)
    taken = await driver.granted()
    gcs.say(job_ended=gcs_pb2.JobEnded(job_id=JOB))
    await ended(taken.pid)
    assert alive(spared.pid)
    address = common_pb2.WorkerAddress(node_id=b"R" * 28, worker_id=remote.worker_id)
    gcs.say(workers_died=gcs_pb2.WorkersDiedNotice(workers=[common_pb2.DeadWorker(address=address)]))
    await ended(spared.pid)
    await remote.close()
