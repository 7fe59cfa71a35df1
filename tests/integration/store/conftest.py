"""Stores of every driver for one and the same suite."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from manta_gcs.store import Store, open_store

from tests.integration.etcd_server import EtcdServer, used_etcds
from tests.integration.redis_server import RedisServer, used_redis

_numbers = itertools.count()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Each run shows what it was tested with; what the fixtures print is captured."""
    for line in (*used_etcds(), *used_redis()):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def shared_etcd() -> Iterator[EtcdServer]:
    """One server for all tests that leave it whole."""
    with EtcdServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for all tests that leave it whole."""
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["sqlite:memory", "sqlite:file", "etcd", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "etcd":
            server: EtcdServer = request.getfixturevalue("shared_etcd")
            return server.url
        case "redis":
            redis: RedisServer = request.getfixturevalue("shared_redis")
            return redis.url
        case "sqlite:file":
            return f"sqlite://{tmp_path}/store.db?synchronous=full"
        case memory:
            return str(memory)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = await open_store(store_url)
    yield opened
    await opened.close()


@pytest.fixture
def short_ttl_s(store_url: str) -> float:
    """The shortest lease that the driver can keep: etcd counts in seconds."""
    return 1.0 if store_url.startswith("etcd") else 0.3


@pytest.fixture
def prefix() -> bytes:
    """A part of the keys that no other test uses."""
    return f"/manta/v1/test{next(_numbers)}/".encode()
