"""A real etcd for tests: started on free ports with a fresh data folder, killed, frozen and restarted at will."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.integration.etcd_launch import Running, choice

START_TIMEOUT_S = 20.0
BIND_ATTEMPTS = 5  # a port that was free can be taken by another process before etcd binds it


def used_etcds() -> list[str]:
    """Which etcd served so far, for the summary of a test run."""
    return [f"etcd for the tests: {choice().told}"] if choice.cache_info().currsize else []


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class EtcdServer:
    """One etcd process. `endpoint` is host:port; ports and data stay over kill() and start()."""

    def __init__(
        self,
        *,
        name: str = "test",
        host: str = "127.0.0.1",
        extra_args: Sequence[str] = (),
        scheme: str = "http",
        ports: tuple[int, int, int] | None = None,
        initial_cluster: str | None = None,
    ) -> None:
        """host: listened on for clients; scheme: https together with the extra_args that TLS needs."""
        self.name, self._host, self._scheme = name, host, scheme
        self._extra_args = list(extra_args)
        self._fixed_ports = ports is not None
        self.client_port, self.peer_port, self._health_port = ports or tuple(free_ports(3))
        self._initial_cluster = initial_cluster
        self.folder = Path(tempfile.mkdtemp(prefix="manta-etcd-"))
        self.log_path = self.folder / "etcd.log"
        self._running: Running | None = None
        self._started_once = False

    @property
    def endpoint(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self.client_port}"

    @property
    def url(self) -> str:
        """As open_store takes it, without login."""
        return f"etcd://{self.endpoint}"

    def spawn(self) -> None:
        """Start without waiting until it serves; for the members of a cluster."""
        assert self._running is None, "etcd is running already"
        client_url = f"{self._scheme}://{self.endpoint}"
        peer_url = f"http://127.0.0.1:{self.peer_port}"
        arguments = [
            f"--name={self.name}",
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster={self._initial_cluster or f'{self.name}={peer_url}'}",
            f"--listen-metrics-urls=http://127.0.0.1:{self._health_port}",
            # A lone member elects itself after this time; the default makes each restart take over a second.
            "--heartbeat-interval=50",
            "--election-timeout=500",
            *self._extra_args,
        ]
        self._running = choice().spawn(arguments, self.log_path)

    def start(self) -> EtcdServer:
        """Start, or start again after kill() with the same data, and wait until it serves."""
        for attempt in range(BIND_ATTEMPTS):
            self.spawn()
            try:
                self.wait_healthy()
            except RuntimeError:
                taken = "address already in use" in self.log()
                if not taken or self._started_once or self._fixed_ports or attempt == BIND_ATTEMPTS - 1:
                    self.stop()
                    raise
                self._reap()
                shutil.rmtree(self.folder / "data", ignore_errors=True)
                self.log_path.unlink()
                self.client_port, self.peer_port, self._health_port = free_ports(3)
                continue
            self._started_once = True
            return self
        raise AssertionError("unreachable: the last attempt returns or raises")

    def wait_healthy(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until it answers a linearizable read; raises RuntimeError with its log when it exits or takes too long."""
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while time.monotonic() < deadline:
            assert self._running is not None, "etcd is not running"
            if self._healthy():
                return
            code = self._running.exit_code()
            if code is not None:
                raise RuntimeError(f"etcd exited with {code}:\n{self.log()}")
            pause.wait(0.02)
        raise RuntimeError(f"etcd did not serve within {timeout_s} s:\n{self.log()}")

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._health_port, timeout=2)
        try:
            connection.request("GET", "/health")
            return bool(json.loads(connection.getresponse().read()).get("health") == "true")
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """kill -9; the data stay for start()."""
        self._reap()

    def freeze(self) -> None:
        """SIGSTOP, or its like: connections stay open and nothing answers."""
        assert self._running is not None, "etcd is not running"
        self._running.freeze()

    def thaw(self) -> None:
        assert self._running is not None, "etcd is not running"
        self._running.thaw()

    def stop(self) -> None:
        """End it, frozen or not, and remove its folder; may be called again."""
        self._reap()  # its data go too, so there is nothing to finish
        shutil.rmtree(self.folder, ignore_errors=True)

    def _reap(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.kill()

    def log(self, limit: int = 4000) -> str:
        """The end of what it wrote."""
        return self.log_path.read_text(errors="replace")[-limit:] if self.log_path.exists() else ""

    def __enter__(self) -> EtcdServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EtcdCluster:
    """Three members that know each other; the members are killed and frozen one by one."""

    def __init__(self, size: int = 3) -> None:
        ports = free_ports(3 * size)
        triples = [(ports[3 * i], ports[3 * i + 1], ports[3 * i + 2]) for i in range(size)]
        initial = ",".join(f"m{i}=http://127.0.0.1:{peer}" for i, (_, peer, _) in enumerate(triples))
        self.members = [
            EtcdServer(name=f"m{i}", ports=triple, initial_cluster=initial) for i, triple in enumerate(triples)
        ]

    @property
    def url(self) -> str:
        return "etcd://" + ",".join(member.endpoint for member in self.members)

    def __enter__(self) -> EtcdCluster:
        try:
            for member in self.members:
                member.spawn()
            for member in self.members:
                member.wait_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def __exit__(self, *_: object) -> None:
        self.stop()
