"""A real Redis for tests: servers, replicas and Sentinels on free ports, killed, frozen and restarted at will."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.integration.etcd_server import free_ports

START_TIMEOUT_S = 20.0


@functools.cache
def binary() -> str:
    found = shutil.which("redis-server")
    assert found, "the tests need redis-server: apt-get install redis-server, or make test, which does it as root"
    return found


def used_redis() -> list[str]:
    """Which Redis served so far, for the summary of a test run."""
    if not binary.cache_info().currsize:
        return []
    told = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout.split(" sha")[0]
    return [f"redis for the tests: {binary()} ({told})"]


class RedisServer:
    """One redis-server with every write on disk before it is answered. Port and data stay over kill() and start()."""

    def __init__(self, *arguments: str, sentinel: bool = False, port: int | None = None) -> None:
        self.port = port or free_ports(1)[0]
        self._arguments, self._sentinel = arguments, sentinel
        self.folder = Path(tempfile.mkdtemp(prefix="manta-redis-"))
        self.log_path = self.folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.endpoint}"

    def start(self) -> RedisServer:
        """Start, or start again with the same data, and wait until it answers."""
        assert self._process is None, "redis is running already"
        if self._sentinel:
            configuration = self.folder / "sentinel.conf"
            if not configuration.exists():
                configuration.write_text("\n".join([f"port {self.port}", *self._arguments]) + "\n")
            command = [binary(), str(configuration), "--sentinel"]
        else:
            durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
            command = [binary(), "--port", str(self.port), "--dir", str(self.folder), *durable, *self._arguments]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        pause = threading.Event()
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log_path.read_text()[-2000:]
            pause.wait(0.02)
        return self

    def _answers(self) -> bool:
        try:
            return self.ask("PING") in ("+PONG", "-NOAUTH Authentication required.")
        except OSError:
            return False

    def ask(self, *command: str) -> str:
        """The first line of the answer to a command, on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            parts = [f"*{len(command)}\r\n", *(f"${len(part.encode())}\r\n{part}\r\n" for part in command)]
            connection.sendall("".join(parts).encode())
            return connection.recv(65536).split(b"\r\n")[0].decode()

    def kill(self) -> None:
        """kill -9, and wait for its end; frozen or not."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()


class SentinelGroup:
    """A primary, replicas of it and three Sentinels, which make a replica the primary when it is gone for a second."""

    def __init__(self, replicas: int = 2) -> None:
        self.primary = RedisServer()
        self.replicas = [RedisServer("--replicaof", "127.0.0.1", str(self.primary.port)) for _ in range(replicas)]
        watched = (
            f"sentinel monitor manta 127.0.0.1 {self.primary.port} 2",
            "sentinel down-after-milliseconds manta 1000",
            "sentinel failover-timeout manta 5000",
        )
        self.sentinels = [RedisServer(*watched, sentinel=True) for _ in range(3)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(each.endpoint for each in self.sentinels)}/manta?timeout_s=3"

    def servers(self) -> Sequence[RedisServer]:
        return (self.primary, *self.replicas, *self.sentinels)

    def __enter__(self) -> SentinelGroup:
        for server in self.servers():
            server.start()
        pause, deadline = threading.Event(), time.monotonic() + START_TIMEOUT_S
        while not self._complete():
            assert time.monotonic() < deadline, "the Sentinels do not know all replicas and one another"
            pause.wait(0.05)
        return self

    def _complete(self) -> bool:
        """Whether each Sentinel knows the others and all replicas."""
        return all(
            each.ask("SENTINEL", "SENTINELS", "manta") == "*2"
            and each.ask("SENTINEL", "REPLICAS", "manta") == f"*{len(self.replicas)}"
            for each in self.sentinels
        )

    def __exit__(self, *exception: object) -> None:
        for server in self.servers():
            server.stop()
