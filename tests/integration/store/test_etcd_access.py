"""Reaching a guarded etcd: users and their tokens, TLS, IPv6, addresses that are no etcd."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from manta_gcs.store import Put, StoreConfigError, StoreUnavailable, open_store
from manta_gcs.store.etcd import EtcdStore

from tests.certificates import Authority
from tests.integration.etcd_server import EtcdServer, free_ports
from tests.integration.store.waiting import Watcher, until

PREFIX = b"/manta/v1/auth/"
PASSWORD = "p@ss:w/rd"
ENCODED = "p%40ss%3Aw%2Frd"


def _ask(server: EtcdServer, path: str, **body: object) -> None:
    """etcd's JSON gateway, which the driver under test does not use."""
    request = urllib.request.Request(f"http://{server.endpoint}/v3/auth/{path}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 200


@pytest.fixture(scope="module")
def guarded() -> Iterator[EtcdServer]:
    """etcd with authentication: root may do all, `manta` may use PREFIX only."""
    with EtcdServer(extra_args=["--bcrypt-cost=4"]) as server:
        _ask(server, "user/add", name="root", password="root-secret")
        _ask(server, "user/grant", user="root", role="root")
        _ask(server, "role/add", name="manta")
        key, end = base64.b64encode(PREFIX).decode(), base64.b64encode(PREFIX[:-1] + b"0").decode()
        _ask(server, "role/grant", name="manta", perm={"permType": "READWRITE", "key": key, "range_end": end})
        _ask(server, "user/add", name="manta", password=PASSWORD)
        _ask(server, "user/grant", user="manta", role="manta")
        _ask(server, "enable")
        yield server


async def test_calls_and_watches_go_on_after_a_restart_killed_the_token(guarded: EtcdServer) -> None:
    """Note 9: simple tokens live in the server's memory."""
    store = await open_store(f"etcd://manta:{ENCODED}@{guarded.endpoint}")
    first = await store.put_if(PREFIX + b"a", b"1", 0)
    async with Watcher(store.watch(PREFIX, first.revision)) as watcher:
        await watcher.wait_for(lambda: len(watcher.events) == 1)
        lease = await store.grant_lease(6)  # longer than a restart may take
        for i in range(2):
            guarded.kill()
            await asyncio.to_thread(guarded.start)
            await asyncio.gather(*(store.get(PREFIX + b"a") for _ in range(20)))
            assert (await store.put_if(PREFIX + b"b%d" % i, b"2", 0)).succeeded
            await watcher.wait_for(lambda i=i: len(watcher.events) == 2 + i)  # type: ignore[misc]
        deadline = lease.deadline
        await until(lambda: lease.deadline > deadline or lease.lost.is_set(), "it is renewed")
        assert not lease.lost.is_set()
    await store.close()


@pytest.mark.parametrize(
    ("login", "message"),
    [("manta:wrong@", "authentication failed"), ("nobody:x@", "authentication failed"), ("", "user name is empty")],
)
async def test_a_wrong_login_is_a_configuration_error(guarded: EtcdServer, login: str, message: str) -> None:
    store = await open_store(f"etcd://{login}{guarded.endpoint}")
    with pytest.raises(StoreConfigError, match=message) as caught:
        await store.put_if(PREFIX + b"a", b"", 0)
    assert "wrong" not in str(caught.value)
    await store.close()


async def test_a_user_without_the_right_is_told_for_reads_writes_and_watches(guarded: EtcdServer) -> None:
    store = await open_store(f"etcd://manta:{ENCODED}@{guarded.endpoint}")
    with pytest.raises(StoreConfigError, match="permission denied"):
        await store.get(b"/other")
    with pytest.raises(StoreConfigError, match="permission denied"):
        await store.txn([], [Put(b"/other", b"")])
    async with asyncio.timeout(10):
        with pytest.raises(StoreConfigError, match="permission denied"):
            await anext(store.watch(b"/other", 1))
    await store.close()


async def test_a_login_that_the_server_does_not_ask_for_does_no_harm(shared_etcd: EtcdServer) -> None:
    store = await open_store(f"etcd://manta:{ENCODED}@{shared_etcd.endpoint}")
    assert await store.get(PREFIX + b"none") is None
    await store.close()


async def test_mutual_tls_lets_in_only_who_has_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    own, client = authority.issue("server"), authority.issue("client")
    args = [f"--cert-file={own.cert}", f"--key-file={own.key}", f"--trusted-ca-file={own.ca}", "--client-cert-auth"]
    with EtcdServer(scheme="https", extra_args=args) as server:
        trusted = f"ca={client.ca}&cert={client.cert}&key={client.key}"
        for url in (f"etcds://{server.endpoint}?{trusted}", f"etcd://{server.endpoint}?{trusted}"):
            store = await open_store(url)
            await store.txn([], [Put(PREFIX + b"tls", b"1")])
            assert await store.get(PREFIX + b"tls") is not None
            await store.close()
        for url in (
            f"etcds://{server.endpoint}?ca={client.ca}&timeout_s=0.5",
            f"etcds://{server.endpoint}?timeout_s=0.5",
            f"etcd://{server.endpoint}?timeout_s=0.5",
        ):
            stranger = await open_store(url)
            with pytest.raises(StoreUnavailable):
                await stranger.get(PREFIX + b"tls")
            await stranger.close()


async def test_a_certificate_that_cannot_be_read_is_named() -> None:
    with pytest.raises(StoreConfigError, match=r"/nowhere/ca\.pem"):
        await open_store("etcds://127.0.0.1?ca=/nowhere/ca.pem")


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


async def test_ipv6_endpoints_work() -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback address")
    with EtcdServer(host="::1") as server:
        store = await open_store(f"etcd://{server.endpoint}")
        assert (await store.put_if(PREFIX + b"v6", b"1", 0)).succeeded
        await store.close()


async def test_a_dead_address_is_skipped_and_alone_is_unavailable(shared_etcd: EtcdServer) -> None:
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    store = await open_store(f"etcd://{dead},nowhere.invalid:2379,{shared_etcd.endpoint}")
    assert (await store.put_if(PREFIX + b"second", b"1", 0)).succeeded
    assert (await store.delete(PREFIX + b"second")).succeeded
    await store.close()
    alone = await open_store(f"etcd://{dead}?timeout_s=0.5")
    assert isinstance(alone, EtcdStore)
    with pytest.raises(StoreUnavailable, match=dead):
        await alone.txn([], [Put(b"k", b"")])
    await alone.close()
