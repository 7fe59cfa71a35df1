"""Gates between a test and its tasks: files, since nothing else outlives every process that a test kills."""

import os
import time
from pathlib import Path

from tests.integration.conditions import wait_for

OPENS_WITHIN_S = 60.0


class Gate:
    """Tasks pass once it is open; what came to it stays on record. Pickled, it is its folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)

    def come(self, name: object) -> None:
        """In a task: say that it runs, in which process, and wait for the gate."""
        arrivals = os.path.join(self.folder, f"{name}.{os.getpid()}")
        with open(arrivals, "a") as file:
            file.write("x")
        deadline = time.monotonic() + OPENS_WITHIN_S
        while not os.path.exists(os.path.join(self.folder, "open")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.folder} was never opened")
            time.sleep(0.005)

    def open(self) -> None:
        Path(self.folder, "open").touch()

    def close(self) -> None:
        """Who comes from now on waits."""
        Path(self.folder, "open").unlink()

    def pids(self, name: object) -> list[int]:
        """The processes in which `name` came to the gate."""
        found = [entry.rpartition(".") for entry in os.listdir(self.folder) if entry != "open"]
        return [int(pid) for stem, _, pid in found if stem == str(name)]

    def wait_for(self, *names: object) -> None:
        wait_for(lambda: all(self.pids(name) for name in names), f"{names} came to the gate")
