"""An actor that writes down each run of a call and dies on request. Its process imports this module: keep it light."""

import os
import signal
import time
from dataclasses import dataclass

import ray

NEVER_S = 60.0


@dataclass(frozen=True)
class Kill:
    """The process ends while it runs call `at`: before the call's effect, or after it and before the reply."""

    at: int
    after_effect: bool


@ray.remote(num_cpus=0, max_restarts=-1)
class Journal:
    """Writes each run of a call to a file, which outlives the process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def ready(self) -> int:
        return os.getpid()

    def write(self, round_: int, number: int, kills: list[Kill]) -> int:
        mine = [kill for kill in kills if kill.at == number]
        self._die([kill for kill in mine if not kill.after_effect], round_)
        line = f"{number} {os.getpid()}\n".encode()
        journal = os.open(os.path.join(self.folder, str(round_)), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(journal, line)
        os.close(journal)
        self._die([kill for kill in mine if kill.after_effect], round_)
        return number

    def _die(self, kills: list[Kill], round_: int) -> None:
        """Once for each kill: the call may be repeated."""
        for kill in kills:
            try:
                marker = os.path.join(self.folder, f"{round_}.{kill.at}.{kill.after_effect}")
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(NEVER_S)  # the signal is on its way
