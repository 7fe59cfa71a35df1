"""The two stores that a real GCS runs on, and the processes that a test starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.etcd_server import EtcdServer
from tests.integration.gcs.gcs_process import GcsProcess
from tests.integration.redis_server import RedisServer

Start = Callable[..., GcsProcess]


SHARED = {"etcd": EtcdServer, "redis": RedisServer}  # the servers that several GCS may use at a time


@pytest.fixture(params=["sqlite", *SHARED])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh store of each driver."""
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/gcs.db"
        return
    with SHARED[request.param]() as server:
        yield server.url


@pytest.fixture(params=SHARED)
def shared_store(request: pytest.FixtureRequest) -> Iterator[EtcdServer | RedisServer]:
    """A server of the test's own, to be harmed."""
    with SHARED[request.param]() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts GCS processes; what still runs at the end is killed."""
    started: list[GcsProcess] = []

    def run(store: str, *flags: str, listen: str = "127.0.0.1:0") -> GcsProcess:
        gcs = GcsProcess.start(store, tmp_path, listen, *flags)
        started.append(gcs)
        return gcs

    yield run
    for gcs in started:
        if gcs.process.poll() is None:
            gcs.kill()
