"""A real manta-gcs process: started, killed, stopped, and started again at the same address."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from select import select

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
TOKEN = b"a-token-of-the-tests"


class StartFailedError(Exception):
    """The process ended, or said nothing, before it was ready."""


@dataclass
class GcsProcess:
    """`address` is host:port and stays over a restart."""

    process: subprocess.Popen[bytes]
    address: str
    metrics: str
    store: str
    log: Path

    @classmethod
    def start(cls, store: str, folder: Path, listen: str = "127.0.0.1:0", *flags: str) -> GcsProcess:
        """Start and wait until it serves. raises: StartFailedError with its output."""
        token_file = folder / "token"
        if not token_file.exists():
            token_file.write_bytes(TOKEN)
        log = folder / "gcs.log"
        reader, writer = os.pipe()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MANTA_", "RAY_"))}
        command = [
            str(Path(sys.executable).parent / "manta-gcs"),
            *("--store", store, "--listen", listen, "--token-file", str(token_file), "--ready-fd", str(writer)),
            *flags,
        ]
        with log.open("ab") as output:
            process = subprocess.Popen(command, env=environment, pass_fds=[writer], stderr=output, stdout=output)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            readable, _, _ = select([pipe], [], [], START_TIMEOUT_S)
            line = pipe.readline() if readable else b""
        if not line:
            process.kill()
            code = process.wait(STOP_TIMEOUT_S)
            raise StartFailedError(f"exit code {code}; its output:\n{log.read_text()}")
        report = json.loads(line)
        return cls(process, report["address"], report["metrics"], store, log)

    def restart(self, *flags: str) -> GcsProcess:
        """Another process on the same store and address; this one is gone."""
        return GcsProcess.start(self.store, self.log.parent, self.address, *flags)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)
