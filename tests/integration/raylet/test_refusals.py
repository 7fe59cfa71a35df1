import asyncio
import urllib.request
from pathlib import Path

import grpc
import pytest
from manta_common.channel.hello import HelloRefused
from manta_common.credentials import Token
from manta_common.rpc import method, open_channel
from manta_common.version import Version
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from tests.integration.raylet.node_process import Peer, TestNode
from tests.integration.raylet.remote_peer import RemotePeer

SERVICE = raylet_pb2.DESCRIPTOR.services_by_name["Raylet"]
WRONG = Token(b"wrong")


async def test_a_wrong_token_is_refused_on_the_socket(node: TestNode) -> None:
    with pytest.raises(HelloRefused, match="token"):
        await Peer.connect(node, token=WRONG)


@pytest.mark.parametrize("name", ["Describe", "Channel"])
async def test_a_wrong_token_is_refused_on_every_method(node: TestNode, name: str) -> None:
    channel = open_channel(node.raylet.ready["address"], WRONG)
    try:
        call = method(channel, SERVICE, name)
        answer = call(raylet_pb2.DescribeRequest()) if name == "Describe" else call().read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    finally:
        await channel.close(None)


async def test_a_version_two_behind_is_refused_and_both_are_named(node: TestNode) -> None:
    channel = open_channel(node.raylet.ready["address"], node.token, version=Version(0, 1))
    try:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(channel, SERVICE, "Describe")(raylet_pb2.DescribeRequest())
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "0.1" in caught.value.details() and "0.3" in caught.value.details()
    finally:
        await channel.close(None)


async def test_a_hello_with_another_pid_than_the_kernels_is_refused(node: TestNode) -> None:
    with pytest.raises(HelloRefused, match="the hello says pid 1"):
        await Peer.connect(node, pid=1)


async def test_a_worker_that_nobody_started_is_refused(node: TestNode) -> None:
    with pytest.raises(HelloRefused, match="no worker"):
        await Peer.connect(node, role=common_pb2.WORKER)
    with pytest.raises(HelloRefused, match="28 bytes"):
        await Peer.connect(node, worker_id=b"short")
    with pytest.raises(HelloRefused, match="role"):
        await Peer.connect(node, role=common_pb2.GCS)


async def test_a_remote_client_has_its_leases_granted_again_after_its_stream_broke(node: TestNode) -> None:
    driver = await node.driver()
    peer = RemotePeer(node, driver.job_id)
    await peer.hello()
    wanted = raylet_pb2.LeasesWanted(request_id=1, job_id=driver.job_id, backlog=1)
    await peer.send(raylet_pb2.LEASES_WANTED, wanted)
    lease = raylet_pb2.LeaseGranted.FromString(await peer.take(raylet_pb2.LEASE_GRANTED))
    await peer.close()
    again = RemotePeer(node, driver.job_id)
    again.worker_id = peer.worker_id
    await again.hello()
    assert raylet_pb2.LeaseGranted.FromString(await again.take(raylet_pb2.LEASE_GRANTED)) == lease
    await again.send(raylet_pb2.LEASE_RETURNED, raylet_pb2.LeaseReturned(lease_id=lease.lease_id))
    await again.close()


async def test_a_remote_stream_without_hello_or_with_nonsense_ends(node: TestNode) -> None:
    peer = RemotePeer(node, b"")
    await peer.send(raylet_pb2.BLOCKED, raylet_pb2.Blocked())
    assert b"HELLO" in await peer.take(raylet_pb2.REFUSED)
    await peer.close()
    peer = RemotePeer(node, b"")
    await peer.hello()
    await peer.send(raylet_pb2.WORKER_READY, raylet_pb2.WorkerReady())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await peer.take(raylet_pb2.LEASE_GRANTED)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await peer.close()


async def test_describe_tells_workers_and_demands(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    driver.want(2, resources={"magic": 2})
    assert await driver.nothing_more(raylet_pb2.LEASE_GRANTED)
    channel = open_channel(node.raylet.ready["address"], node.token)
    reply = await method(channel, SERVICE, "Describe")(raylet_pb2.DescribeRequest())
    await channel.close(None)
    assert reply.node_id == node.node_id and reply.available.amounts == {"CPU": 10_000}
    assert {worker.pid: worker.state for worker in reply.workers}[lease.pid] == "LEASED"
    assert len(reply.workers) == 2  # the other was started ahead
    (demand,) = reply.demands
    assert demand.resources.amounts == {"magic": 20_000} and "infeasible" in demand.reason


async def test_metrics_tell_resources_leases_and_workers(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1, backlog=3)
    await driver.granted()
    await driver.granted()

    def scrape() -> str:
        with urllib.request.urlopen(f"http://{node.raylet.ready['metrics']}/metrics", timeout=5) as page:
            return str(page.read().decode())

    lines = [line.split("{", 1) for line in (await asyncio.to_thread(scrape)).splitlines() if "{" in line]
    values = {(name, rest.rpartition("}")[0]): float(rest.rpartition(" ")[2]) for name, rest in lines}

    def value(name: str, *labels: str) -> float:
        (found,) = [v for (n, text), v in values.items() if n == name and all(label in text for label in labels)]
        return found

    assert value("ray_resources", 'Name="CPU"', 'State="USED"') == 2
    assert value("ray_resources", 'Name="CPU"', 'State="AVAILABLE"') == 0
    assert value("manta_lease_tasks", 'State="RUNNING"') == 2
    assert value("manta_lease_tasks", 'State="PENDING_NODE_ASSIGNMENT"') == 1
    assert value("manta_leases_granted_total") == 2
    assert value("manta_leases_queued") == 1
    assert value("manta_workers", 'State="LEASED"') == 2
    assert value("manta_spillbacks_total") == 0


async def test_a_negative_resource_stops_the_start_with_a_clear_error(tmp_path: Path) -> None:
    node = TestNode(tmp_path, Token(b"token"))
    node.gcs_address = "127.0.0.1:1"
    with pytest.raises(RuntimeError, match="resource 'memory' must be a number >= 0"):
        await node.start_raylet({"memory": -1})
    await node.stop()
