import asyncio
import os
import signal
from pathlib import Path

import pytest
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from tests.integration.raylet.node_process import Peer, TestNode, alive, ended, running_node

Cause = common_pb2.DeathCause


async def test_a_lease_names_a_running_worker_and_is_granted_again_after_its_return(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    assert lease.request_id == 1 and alive(lease.pid)
    assert lease.worker.node_id == node.node_id
    assert lease.resources.amounts == {"CPU": 10_000}
    driver.give_back(lease)
    driver.want(2)
    again = await driver.granted()
    assert again.worker == lease.worker, "the idle worker is used again"
    assert again.lease_id != lease.lease_id


async def test_requests_beyond_the_cpus_wait_until_a_lease_is_returned(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1, backlog=3)
    first, second = await driver.granted(), await driver.granted()
    assert await driver.nothing_more(raylet_pb2.LEASE_GRANTED)
    driver.give_back(first)
    third = await driver.granted()
    assert third.worker == first.worker
    assert third.worker != second.worker


async def test_others_that_wait_are_announced_to_the_holder(node: TestNode) -> None:
    holder, other = await node.driver(), await node.driver()
    holder.want(1, backlog=2)
    leases = [await holder.granted(), await holder.granted()]
    other.want(1)
    await holder.take(raylet_pb2.LEASES_SHORT)
    holder.give_back(leases[0])
    await other.granted()


async def test_a_worker_that_dies_is_told_to_its_holder_with_code_and_last_lines(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    node.order(lease.worker, "error the last words\n")
    node.order(lease.worker, "exit 7")
    died = await driver.take(raylet_pb2.WORKERS_DIED)
    assert died.workers[0].address == lease.worker
    cause = died.workers[0].cause
    assert (cause.kind, cause.exit_code, cause.pid) == (Cause.WORKER_DIED, 7, lease.pid)
    assert list(cause.last_log_lines) == ["the last words"]
    driver.want(2, backlog=2)
    await driver.granted()
    await driver.granted()


async def test_a_signal_is_told_as_a_negative_exit_code(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    os.kill(lease.pid, signal.SIGSEGV)
    died = await driver.take(raylet_pb2.WORKERS_DIED)
    assert died.workers[0].cause.exit_code == -signal.SIGSEGV


async def test_a_worker_whose_child_keeps_its_descriptors_is_noticed_and_the_child_killed(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    child = int(await printed(driver, lease, "child"))
    assert alive(child)
    os.kill(lease.pid, signal.SIGKILL)
    async with asyncio.timeout(1):
        died = await driver.take(raylet_pb2.WORKERS_DIED)
    assert died.workers[0].address == lease.worker
    await ended(child)


async def printed(driver: Peer, lease: raylet_pb2.LeaseGranted, order: str) -> str:
    """The line that the worker prints when it is told so."""
    driver.send(raylet_pb2.LOGS_WANTED, raylet_pb2.LogsWanted())
    assert await driver.nothing_more(raylet_pb2.LOG_LINES)
    driver.node.order(lease.worker, order)
    lines = await driver.take(raylet_pb2.LOG_LINES)
    (line,) = lines.batches[0].lines
    return str(line)


async def test_a_blocked_worker_lends_its_cpu_to_fifty_nested_ones_on_one_cpu(tmp_path: Path) -> None:
    async with running_node(tmp_path, resources={"CPU": 1}) as node:
        driver = await node.driver()
        chain = []
        for depth in range(50):
            driver.want(depth + 1)
            lease = await driver.granted()
            chain.append(lease)
            node.order(lease.worker, "block")
        for lease in reversed(chain):
            node.order(lease.worker, "unblock")
        # All run again, so fifty CPUs are owed; nothing is granted until they are given back.
        driver.want(1_000)
        for lease in chain[1:]:
            driver.give_back(lease)
        driver.give_back(chain[0])
        final = await driver.granted()
        assert final.request_id == 1_000


async def test_the_environment_of_a_lease_reaches_its_worker(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1, resources={"CPU": 2}, runtime_env='{"env_vars": {"COLOUR": "green"}}')
    lease = await driver.granted()
    for variable, value in (("COLOUR", "'green'"), ("OMP_NUM_THREADS", "'2'"), ("CUDA_VISIBLE_DEVICES", "None")):
        assert await printed(driver, lease, f"env {variable}") == value


async def test_workers_see_the_devices_of_their_lease_and_serve_only_one(tmp_path: Path) -> None:
    async with running_node(tmp_path, resources={"CPU": 4, "GPU": 2}) as node:
        driver = await node.driver()
        driver.want(1, resources={"GPU": 0.5}, backlog=2)
        halves = [await driver.granted(), await driver.granted()]
        assert [list(lease.gpu_ids) for lease in halves] == [["0"], ["0"]]
        driver.want(2, resources={"GPU": 1})
        whole = await driver.granted()
        driver.want(3)
        without = await driver.granted()
        assert await printed(driver, whole, "env CUDA_VISIBLE_DEVICES") == "'1'"
        assert await printed(driver, without, "env CUDA_VISIBLE_DEVICES") == "None"
        driver.give_back(whole)
        await ended(whole.pid)
        driver.want(4, resources={"GPU": 1})
        assert (await driver.granted()).pid != whole.pid


async def test_a_hard_affinity_to_an_unknown_node_is_refused(node: TestNode) -> None:
    driver = await node.driver()
    strategy = common_pb2.SchedulingStrategy(node_affinity=common_pb2.NodeAffinity(node_id=b"x" * 28))
    driver.want(1, strategy=strategy)
    refused = await driver.take(raylet_pb2.LEASE_REFUSED)
    assert refused.reason == raylet_pb2.LeaseRefused.UNSCHEDULABLE
    assert (b"x" * 28).hex() in refused.message


async def test_a_worker_that_cannot_start_is_refused_with_its_last_words(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1, runtime_env='{"env_vars": {"TEST_EXIT_AT_START": "9"}}')
    refused = await driver.take(raylet_pb2.LEASE_REFUSED)
    assert refused.reason == raylet_pb2.LeaseRefused.WORKER_START_FAILED
    assert "exit code 9" in refused.message and "cannot start" in refused.message


async def test_output_reaches_the_driver_that_wants_it_and_the_log_file(node: TestNode) -> None:
    driver = await node.driver()
    driver.send(raylet_pb2.LOGS_WANTED, raylet_pb2.LogsWanted())
    driver.want(1)
    lease = await driver.granted()
    node.order(lease.worker, "print \x1ework\nhello\nworld\n")
    lines = await driver.take(raylet_pb2.LOG_LINES)
    batch = lines.batches[0]
    assert lines.job_id == driver.job_id
    assert (batch.name, batch.pid, list(batch.lines), batch.is_error) == ("work", lease.pid, ["hello", "world"], False)
    log = node.node_dir / "logs" / f"worker-{lease.worker.worker_id.hex()}-{lease.pid}.out"
    assert log.read_text() == "hello\nworld\n"
    assert not log.with_suffix(".err").exists(), "a file comes with its first line"


async def test_an_endpoint_is_asked_of_the_worker_and_remembered(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    for number in (1, 2):
        wanted = raylet_pb2.EndpointWanted(request_id=number, worker_id=lease.worker.worker_id)
        driver.send(raylet_pb2.ENDPOINT_WANTED, wanted)
        endpoint = await driver.take(raylet_pb2.ENDPOINT)
        assert (endpoint.request_id, endpoint.address) == (number, f"127.0.0.1:{lease.pid}")


async def test_a_malformed_frame_ends_that_connection_only(node: TestNode) -> None:
    good, bad = await node.driver(), await node.driver(register=False)
    bad.send(raylet_pb2.LEASES_WANTED, b"\xff\xff\xff")  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        await bad.take(raylet_pb2.LEASE_GRANTED)
    good.want(1)
    await good.granted()
