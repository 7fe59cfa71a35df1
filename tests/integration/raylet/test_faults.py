import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from manta_common.ids import new_actor_id, new_worker_id
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_proto.raylet.v1 import raylet_pb2

from tests.integration.raylet.node_process import Peer, TestNode, alive, ended

LONE_DRIVER = Path(__file__).parent / "lone_driver.py"


async def lone_driver(node: TestNode, job_id: bytes) -> tuple["subprocess.Popen[str]", bytes, int, bytes]:
    """A driver that holds a lease: its process, its worker id, the leased pid and worker id."""

    def start() -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen(
            [sys.executable, str(LONE_DRIVER), f"{node.node_dir}/raylet.sock", worker_id.hex(), job_id.hex()],
            env={**os.environ, "MANTA_TOKEN": node.token.value.decode()},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return process, process.stdout.readline()

    worker_id = new_worker_id()
    process, line = await asyncio.to_thread(start)
    pid, leased = line.split()
    return process, worker_id, int(pid), bytes.fromhex(leased)


def watch(peer: Peer, worker_id: bytes) -> None:
    address = common_pb2.WorkerAddress(node_id=peer.node.node_id, worker_id=worker_id)
    peer.send(raylet_pb2.WATCH, raylet_pb2.Watch(workers=[address]))


async def test_the_worker_that_a_dead_driver_leased_is_killed_and_both_deaths_are_told(node: TestNode) -> None:
    watcher = await node.driver()
    driver, driver_id, pid, leased = await lone_driver(node, watcher.job_id)
    watch(watcher, driver_id)
    watch(watcher, leased)
    assert await watcher.nothing_more(raylet_pb2.WORKERS_DIED)
    driver.kill()
    await ended(pid)
    causes = {}
    while len(causes) < 2:
        for dead in (await watcher.take(raylet_pb2.WORKERS_DIED)).workers:
            causes[dead.address.worker_id] = dead.cause.kind
    assert causes == {
        driver_id: common_pb2.DeathCause.WORKER_DIED,
        leased: common_pb2.DeathCause.LEASE_HOLDER_DIED,
    }
    driver.wait(5)
    # Who asks late is told as well.
    other = await node.driver(register=False)
    watch(other, driver_id)
    died = await other.take(raylet_pb2.WORKERS_DIED)
    assert died.workers[0].address.worker_id == driver_id


async def test_a_driver_that_says_it_goes_ends_its_job(node: TestNode) -> None:
    watcher, driver = await node.driver(), await node.driver()
    driver.want(1)
    lease = await driver.granted()
    watch(watcher, driver.worker_id)
    cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.INTENDED, message="ray.shutdown")
    driver.send(raylet_pb2.EXITING, raylet_pb2.Exiting(cause=cause))
    died = await watcher.take(raylet_pb2.WORKERS_DIED)
    assert died.workers[0].cause.message == "ray.shutdown"
    await ended(lease.pid)
    while True:
        jobs = (await watcher.ask(list_jobs=gcs_pb2.ListJobs())).job_list.items
        if all(job.finished for job in jobs if job.job_id == driver.job_id):
            break


async def test_a_zygote_that_is_killed_is_replaced_and_running_workers_go_on(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    zygote = int(re.findall(r"zygote_started pid=(\d+)", node.raylet.log.read_text())[-1])
    os.kill(zygote, signal.SIGKILL)
    driver.want(2)
    second = await driver.granted()
    assert alive(lease.pid) and second.pid != lease.pid
    # The orphan is the raylet's child now; its end is told with its status all the same.
    node.order(lease.worker, "exit 5")
    died = await driver.take(raylet_pb2.WORKERS_DIED)
    assert (died.workers[0].address, died.workers[0].cause.exit_code) == (lease.worker, 5)


async def test_sigterm_ends_workers_and_the_exit_code_is_zero(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1, backlog=2)
    leases = [await driver.granted(), await driver.granted()]
    node.order(leases[0].worker, "stop")
    node.raylet.process.terminate()
    assert await node.raylet.wait(5) == 0
    for lease in leases:
        assert not alive(lease.pid)
    assert "raylet.sock" not in os.listdir(node.node_dir)


async def test_a_raylet_that_is_killed_takes_workers_and_zygote_with_it(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    lease = await driver.granted()
    zygote = int(re.findall(r"zygote_started pid=(\d+)", node.raylet.log.read_text())[-1])
    node.raylet.kill()
    await ended(lease.pid)
    await ended(zygote)


async def test_leases_are_granted_while_the_gcs_is_away_and_it_is_told_afterwards(node: TestNode) -> None:
    driver = await node.driver()
    driver.want(1)
    first = await driver.granted()
    node.gcs.kill()
    driver.give_back(first)
    driver.want(2, backlog=2)
    second = await driver.granted()
    await driver.granted()
    os.kill(second.pid, signal.SIGKILL)
    await driver.take(raylet_pb2.WORKERS_DIED)
    restarted = await type(node.gcs).start(
        "manta-gcs",
        node.token,
        node.root / "gcs.log",
        *("--store", f"sqlite:///{node.root}/gcs.db", "--listen", node.gcs_address),
    )
    node.services.append(restarted)
    tool = await node.driver()
    items = (await tool.ask(list_nodes=gcs_pb2.ListNodes())).node_list.items
    assert [item.info.node_id for item in items if item.info.state == common_pb2.NodeInfo.ALIVE] == [node.node_id]


async def test_an_object_manager_that_comes_back_is_told_of_the_node_again(node: TestNode) -> None:
    node.object_manager.kill()
    await node.start_object_manager()
    driver = await node.driver()
    flight = node.object_manager.ready["flight"]
    # The new address reaches the cluster by another attach, and from there everybody.
    while True:
        items = (await driver.ask(list_nodes=gcs_pb2.ListNodes())).node_list.items
        if [item.info.flight_address for item in items] == [flight]:
            break


async def test_an_actor_is_made_reported_and_its_death_told(node: TestNode) -> None:
    driver = await node.driver()
    spec = actor_pb2.ActorSpec(
        actor_id=new_actor_id(driver.job_id),  # type: ignore[arg-type]
        job_id=driver.job_id,
        owner=common_pb2.WorkerAddress(node_id=node.node_id, worker_id=driver.worker_id),
        class_name="Counter",
    )
    await driver.ask(register_actor=gcs_pb2.RegisterActor(spec=spec))
    await driver.ask(subscribe_actors=gcs_pb2.SubscribeActors(actor_ids=[spec.actor_id]))
    status = await actor_in(driver, spec.actor_id, actor_pb2.ALIVE)
    assert alive(status.pid)
    os.kill(status.pid, signal.SIGKILL)
    status = await actor_in(driver, spec.actor_id, actor_pb2.DEAD)
    assert status.death_cause.exit_code == -9


async def test_an_actor_whose_constructor_raised_is_dead_with_the_error(node: TestNode) -> None:
    driver = await node.driver()
    spec = actor_pb2.ActorSpec(
        actor_id=new_actor_id(driver.job_id),  # type: ignore[arg-type]
        job_id=driver.job_id,
        owner=common_pb2.WorkerAddress(node_id=node.node_id, worker_id=driver.worker_id),
        class_name="Broken",
    )
    await driver.ask(register_actor=gcs_pb2.RegisterActor(spec=spec))
    status = await actor_in(driver, spec.actor_id, actor_pb2.DEAD)
    assert status.death_cause.error == b"pickled"


async def actor_in(driver: Peer, actor_id: bytes, state: int) -> actor_pb2.ActorStatus:
    """The actor's status once it is in that state; each question waits for its answer."""
    async with asyncio.timeout(10):
        while True:
            found = (await driver.ask(find_actor=gcs_pb2.FindActor(actor_id=actor_id))).actor_found
            if found.status.state == state:
                return found.status
