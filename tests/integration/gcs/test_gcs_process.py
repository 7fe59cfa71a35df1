"""A real manta-gcs over real gRPC, on SQLite, etcd and Redis: what it serves, and what survives it."""

import asyncio
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from manta_common.credentials import TlsFiles, Token
from manta_common.rpc import method, open_channel
from manta_common.version import Version
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from prometheus_client.parser import text_string_to_metric_families

from tests.certificates import Authority
from tests.integration.etcd_server import EtcdServer
from tests.integration.gcs.conftest import Start
from tests.integration.gcs.gcs_process import TOKEN, StartFailedError
from tests.integration.gcs.peers import SERVICE, ClientPeer, NodePeer, RefusedError, spec_of
from tests.integration.redis_server import RedisServer

Error = gcs_pb2.Error
Cause = common_pb2.DeathCause


def register(spec: actor_pb2.ActorSpec, get_if_exists: bool = False) -> gcs_pb2.RegisterActor:
    return gcs_pb2.RegisterActor(spec=spec, get_if_exists=get_if_exists)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/gcs.db"


async def test_the_life_of_an_actor(sqlite_url: str, start: Start) -> None:
    gcs = start(sqlite_url)
    async with NodePeer(gcs.address) as node, ClientPeer(gcs.address) as client:
        job = await client.job(node)
        assert (await node.wait_for("job_started")).job == job
        spec = spec_of(job, name="counter", ray_namespace="n", max_restarts=1)
        await client.ask(subscribe_actors=gcs_pb2.SubscribeActors(actor_ids=[spec.actor_id]))
        assert not (await client.ask(register_actor=register(spec))).actor_found.existed
        alive = await client.pushed_status(actor_pb2.ALIVE)
        assert (alive.address.node_id, alive.pid, alive.incarnation) == (node.id, 4711, 1)
        with pytest.raises(RefusedError, match="is taken by actor") as taken:
            await client.ask(register_actor=register(spec_of(job, name="counter", ray_namespace="n")))
        assert taken.value.error.code == Error.ALREADY_EXISTS
        node.died(spec.actor_id)
        assert (await client.pushed_status(actor_pb2.RESTARTING)).restarts == 1
        assert (await client.pushed_status(actor_pb2.ALIVE)).incarnation == 2
        await client.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id, no_restart=True))
        dead = await client.pushed_status(actor_pb2.DEAD)
        assert dead.death_cause.kind == Cause.KILLED
        assert (await node.wait_for("end_actor")).incarnation == 2
        await client.ask(finish_job=gcs_pb2.FinishJob(job_id=job.job_id))
        assert (await node.wait_for("job_ended")).job_id == job.job_id


async def test_a_gcs_killed_and_started_again_serves_the_same_cluster(store_url: str, start: Start) -> None:
    gcs = start(store_url, "--session-name", "first")
    async with NodePeer(gcs.address) as node:
        async with ClientPeer(gcs.address) as client:
            before = client.welcome
            job = await client.job(node)
            spec = spec_of(job, name="counter", max_restarts=1)
            spec.definition.pickled = b"c" * 300_000  # goes to chunks
            kept, lost = spec, spec_of(job, max_restarts=1)
            for one in (kept, lost):
                await client.ask(subscribe_actors=gcs_pb2.SubscribeActors(actor_ids=[one.actor_id]))
                await client.ask(register_actor=register(one))
                await client.pushed_status(actor_pb2.ALIVE)
            await client.ask(kv_put=gcs_pb2.KvPut(ray_namespace="a", key=b"k", value=b"v" * 2_000_000))
        gcs.kill()
        del node.living[lost.actor_id]  # its process ends while nobody listens
        restarted = time.monotonic()
        gcs = gcs.restart("--session-name", "ignored")
        try:
            await node.attach()
            assert node.epoch > before.epoch
            print(f"served again {time.monotonic() - restarted:.1f} s after the restart")
            async with ClientPeer(gcs.address) as client:
                assert client.welcome.cluster_id == before.cluster_id
                assert client.welcome.session_name == "first"
                assert (await client.status(kept.actor_id)).state == actor_pb2.ALIVE
                await node.wait_for("create_actor", lambda c: c.spec.actor_id == lost.actor_id and c.incarnation == 2)
                found = await client.ask(find_actor=gcs_pb2.FindActor(name="counter"))
                assert found.actor_found.spec.actor_id == kept.actor_id
                assert (await client.ask(register_actor=register(kept))).actor_found.existed
                value = await client.ask(kv_get=gcs_pb2.KvGet(ray_namespace="a", key=b"k"))
                assert value.kv_value.value == b"v" * 2_000_000
                again = await client.ask(register_job=gcs_pb2.RegisterJob(job=job))
                assert again.job_registered.job == job
                # The class comes back from the store, for a restart and for new actors.
                node.died(kept.actor_id)
                create = await node.wait_for(
                    "create_actor", lambda c: c.spec.actor_id == kept.actor_id and c.incarnation == 2
                )
                assert create.spec.definition.pickled == b"c" * 300_000
                assert not (await client.ask(register_actor=register(spec_of(job)))).actor_found.existed
        finally:
            gcs.kill()


async def test_a_node_that_does_not_come_back_is_declared_dead(sqlite_url: str, start: Start) -> None:
    gcs = start(sqlite_url, "--node-death-timeout-s", "1.5")
    async with NodePeer(gcs.address) as watcher, ClientPeer(gcs.address) as client:
        node = NodePeer(gcs.address)
        await node.attach()
        await node.__aexit__()
        news = await watcher.wait_for("node", lambda info: info.state == common_pb2.NodeInfo.DEAD)
        assert news.node_id == node.id
        revenant = NodePeer(gcs.address, node.id)
        assert "silent" in (await revenant.attach(expect="declared_dead")).reason
        await revenant.__aexit__()
        items = (await client.ask(list_nodes=gcs_pb2.ListNodes())).node_list.items
        assert {item.info.state for item in items} == {common_pb2.NodeInfo.ALIVE, common_pb2.NodeInfo.DEAD}


async def test_strangers_and_other_versions_are_refused(sqlite_url: str, start: Start) -> None:
    gcs = start(sqlite_url)
    for name in ("Connect", "Attach"):
        stranger = open_channel(gcs.address, Token(b"wrong"))
        with pytest.raises(grpc.aio.AioRpcError, match="token") as unauthenticated:
            await method(stranger, SERVICE, name)().read()
        assert unauthenticated.value.code() == grpc.StatusCode.UNAUTHENTICATED
        await stranger.close()
    for version, accepted in ((Version(0, 2), True), (Version(0, 1), False)):
        channel = open_channel(gcs.address, Token(TOKEN), version=version)
        call = method(channel, SERVICE, "Connect")()
        hello = gcs_pb2.ClientRequest(request_id=1, hello=common_pb2.Hello())
        if accepted:
            await call.write(gcs_pb2.ClientBatch(requests=[hello]))
            assert (await call.read()).replies[0].HasField("welcome")
        else:
            with pytest.raises(grpc.aio.AioRpcError, match=r"0\.1.*0\.3") as refused:
                await call.read()
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        call.cancel()
        await channel.close()


async def test_mutual_tls_lets_a_node_in_by_its_certificate_only(sqlite_url: str, start: Start, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    files = ours.issue("gcs")
    gcs = start(sqlite_url, "--tls-ca", files.ca, "--tls-cert", files.cert, "--tls-key", files.key)
    async with NodePeer(gcs.address, tls=ours.issue("raylet")) as node:
        assert (await node.wait_for("attached")).cluster_id
    forged = theirs.issue("raylet")
    for tls in (TlsFiles(files.ca, forged.cert, forged.key), None):
        stranger = open_channel(gcs.address, Token(TOKEN), tls)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(stranger, SERVICE, "Attach")(timeout=5).read()
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        await stranger.close()


async def test_malformed_input_ends_its_stream_only(sqlite_url: str, start: Start) -> None:
    gcs = start(sqlite_url)
    async with ClientPeer(gcs.address) as bystander:
        channel = open_channel(gcs.address, Token(TOKEN))
        for name, first in (
            ("Connect", gcs_pb2.ClientBatch(requests=[gcs_pb2.ClientRequest(request_id=1)])),
            ("Attach", gcs_pb2.NodeBatch(messages=[gcs_pb2.NodeToGcs()])),
        ):
            call = method(channel, SERVICE, name)()
            await call.write(first)
            with pytest.raises(grpc.aio.AioRpcError, match="first"):
                await call.read()
        path = "/manta.gcs.v1.Gcs/Connect"
        raw = channel.stream_stream(path)()
        await raw.write(b"\xff\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be parsed"):
            await raw.read()
        later = channel.stream_stream(path)()
        hello = gcs_pb2.ClientRequest(request_id=1, hello=common_pb2.Hello())
        await later.write(gcs_pb2.ClientBatch(requests=[hello]).SerializeToString())
        assert gcs_pb2.GcsBatch.FromString(await later.read()).replies[0].HasField("welcome")
        await later.write(b"\xff\xff\xff\xff")
        async with asyncio.timeout(10):
            assert await later.read() is grpc.aio.EOF
        await channel.close()
        assert (await bystander.ask(list_jobs=gcs_pb2.ListJobs())).HasField("job_list")
    assert "stream_malformed" in gcs.log.read_text() and "Traceback" not in gcs.log.read_text()


def test_a_second_gcs_on_the_same_file_exits_and_names_the_first(sqlite_url: str, start: Start) -> None:
    first = start(sqlite_url)
    with pytest.raises(
        StartFailedError, match=f"(?s)exit code 1.*pid {first.process.pid} at {first.address}"
    ) as failed:
        start(sqlite_url)
    assert "Traceback" not in str(failed.value)


async def test_a_standby_names_the_leader_and_takes_over(shared_store: EtcdServer | RedisServer, start: Start) -> None:
    first = start(shared_store.url)
    async with NodePeer(first.address) as node, ClientPeer(first.address) as client:
        job = await client.job(node)
        second = start(shared_store.url)
        with pytest.raises(RefusedError) as refused:
            async with ClientPeer(second.address):
                pass
        assert (refused.value.error.code, refused.value.error.leader) == (Error.NOT_LEADER, first.address)
        refused_node = NodePeer(second.address)
        assert (await refused_node.attach(expect="refused")).leader == first.address
        await refused_node.__aexit__()
        first.kill()
        killed = time.monotonic()
        while True:
            try:
                async with ClientPeer(second.address) as successor:
                    took = time.monotonic() - killed
                    listed = (await successor.ask(list_jobs=gcs_pb2.ListJobs())).job_list.items
                    assert [one.job_id for one in listed] == [job.job_id]
                    break
            except RefusedError:
                assert time.monotonic() - killed < 10
                await asyncio.sleep(0.05)  # as a client does between two attempts
        print(f"a standby served {took:.1f} s after the kill")


async def test_clients_are_sent_away_and_the_exit_code_is_0_on_sigterm(store_url: str, start: Start) -> None:
    gcs = start(store_url)
    async with NodePeer(gcs.address) as node, ClientPeer(gcs.address) as client:
        assert await asyncio.to_thread(gcs.terminate) == 0
        assert (await client.pushed.get()).error.code == Error.NOT_LEADER
        await node.wait_for("refused")
    assert "Traceback" not in gcs.log.read_text()
    again = gcs.restart()
    assert again.address == gcs.address
    assert again.terminate() == 0


async def test_metrics_are_served_under_their_documented_names(sqlite_url: str, start: Start) -> None:
    gcs = start(sqlite_url)
    async with NodePeer(gcs.address) as node, ClientPeer(gcs.address) as client:
        job = await client.job(node)
        spec = spec_of(job)
        await client.ask(subscribe_actors=gcs_pb2.SubscribeActors(actor_ids=[spec.actor_id]))
        await client.ask(register_actor=register(spec))
        await client.pushed_status(actor_pb2.ALIVE)
        page = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://{gcs.metrics}/metrics", timeout=10).read().decode()
        )
    values = {
        (sample.name, *sorted(value for label, value in sample.labels.items() if label != "part")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert values["ray_actors", "ALIVE"] == 1 and values["ray_actors", "DEAD"] == 0
    assert values["ray_cluster_active_nodes",] == values["manta_gcs_is_leader",] == 1
    assert values["manta_gcs_store_write_seconds_count",] > 0
    assert ("manta_gcs_inbox_depth",) in values
    assert values["manta_rpc_seconds_count", "Connect/register_actor", "OK"] == 1


async def test_hundreds_of_actors_a_second_are_registered(sqlite_url: str, start: Start) -> None:
    gcs = start(sqlite_url)
    async with NodePeer(gcs.address) as node, ClientPeer(gcs.address) as client:
        job = await client.job(node)
        specs = [spec_of(job) for _ in range(600)]
        begun = time.monotonic()
        await asyncio.gather(*(client.ask(register_actor=register(spec)) for spec in specs))
        rate = len(specs) / (time.monotonic() - begun)
        print(f"{rate:.0f} registrations/s")
        assert rate > 200
        for spec in specs:
            await node.wait_for("create_actor", lambda c, wanted=spec.actor_id: c.spec.actor_id == wanted)


async def test_a_frozen_leader_steps_down_and_serves_nobody_afterwards(
    shared_store: EtcdServer | RedisServer, start: Start
) -> None:
    first, second = start(shared_store.url), None
    async with ClientPeer(first.address) as client:
        old_epoch = client.welcome.epoch
        second = start(shared_store.url)
        first.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 15
        while True:
            try:
                async with ClientPeer(second.address) as successor:
                    assert successor.welcome.epoch > old_epoch
                    break
            except RefusedError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        first.process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(15):
            pushed = await client.pushed.get()
        assert pushed.error.code == Error.NOT_LEADER
        with pytest.raises(RefusedError) as refused:
            async with ClientPeer(first.address):
                pass
        assert refused.value.error.leader == second.address


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--store", "redis+sentinel://localhost"], "names no primary"),
        (["--store", "file:///x"], "unknown scheme"),
        (["--store", "sqlite:memory", "--listen", "0.0.0.0:0"], "--insecure-plaintext"),
        ([], "missing --store"),
    ],
)
def test_what_cannot_work_is_said_clearly(arguments: list[str], text: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_bytes(TOKEN)
    command = [str(Path(sys.executable).parent / "manta-gcs"), *arguments, "--token-file", str(token)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in (1, 2)
    assert text in done.stderr and "Traceback" not in done.stderr


def test_help_tells_the_settings() -> None:
    command = [str(Path(sys.executable).parent / "manta-gcs"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "--node-death-timeout-s" in done.stdout and "MANTA_GCS_STORE" in done.stdout


async def test_an_outage_of_the_store_delays_requests_and_loses_nothing(
    shared_store: EtcdServer | RedisServer, start: Start
) -> None:
    gcs = start(shared_store.url)
    async with ClientPeer(gcs.address) as client:
        await client.ask(kv_put=gcs_pb2.KvPut(key=b"before", value=b"1"))
        shared_store.kill()
        async with asyncio.timeout(15):
            pushed = await client.pushed.get()  # the lease ends unseen: it must not serve on
        assert pushed.error.code == Error.NOT_LEADER
    with pytest.raises(RefusedError) as refused:
        async with ClientPeer(gcs.address):
            pass
    assert refused.value.error.code == Error.UNAVAILABLE
    shared_store.start()
    deadline = time.monotonic() + 20
    while True:
        try:
            async with ClientPeer(gcs.address) as client:
                value = await client.ask(kv_get=gcs_pb2.KvGet(key=b"before"))
                assert value.kv_value.value == b"1"
                break
        except RefusedError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)  # as a client does between two attempts
    assert gcs.terminate() == 0
