"""Run the tests several times beside busy loops, with their clusters' processes paused at random; say what failed.

python tools/stress.py [--rounds N] [--seed N] [--loops N] [--pause-s S] [--every-s S] [suite or path or test ...]

A pause is SIGSTOP for up to --pause-s, then SIGCONT, for one process at a time: a service, a supervisor, a zygote or a
worker that the tests started, never another. A test that stops one of them itself may find it going again early, if it
does so in the middle of a pause. The pauses are drawn from the seed, but what they meet is not the same twice.
"""

import argparse
import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from run_tests import ROOT, SIDE_BY_SIDE, SUITES

_PR_SET_CHILD_SUBREAPER: Final = 36
# Of a process of a cluster, its command line or title has one of these.
_OF_A_CLUSTER: Final = (b"manta-", b"_supervisor", b"ray::")
_TEST_TIMEOUT_S: Final = 600
_BUSY: Final = "import ctypes; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)\nwhile True: pass"
_SUITE_OPTIONS: Final = ("-m", "not soak", "-o", f"timeout={_TEST_TIMEOUT_S}")


@dataclass
class Story:
    """What became of one test over all rounds."""

    failed_in: list[int] = field(default_factory=list)
    message: str = ""


@dataclass(frozen=True)
class Pauses:
    """Of one target's run: how many there were is counted in `made`."""

    top: int
    draw: random.Random
    longest_s: float
    every_s: float
    over: threading.Event
    made: list[float]

    def run(self) -> None:
        """Until it is over, pause one process after the other."""
        while not self.over.wait(self.draw.expovariate(1 / self.every_s)):
            found = sorted(pid for pid in descendants(self.top) if is_of_a_cluster(pid))
            if found:
                self._pause(self.draw.choice(found), self.draw.uniform(0.0, self.longest_s))

    def _pause(self, pid: int, seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            pidfd = os.pidfd_open(pid)
            try:
                # By the pidfd it can only be what was looked at, and only if it still is a descendant.
                if pid not in descendants(self.top) or state_of(pid) == "T":
                    return
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
                try:
                    self.over.wait(seconds)
                finally:
                    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
                self.made.append(seconds)
            finally:
                os.close(pidfd)


def descendants(top: int) -> set[int]:
    """All processes below that one."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                children[int(_stat(int(entry))[1])].append(int(entry))
    found: set[int] = set()
    left = [top]
    while left:
        for pid in children[left.pop()]:
            if pid not in found:
                found.add(pid)
                left.append(pid)
    return found


def is_of_a_cluster(pid: int) -> bool:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return any(mark in command for mark in _OF_A_CLUSTER)
    return False


def state_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return _stat(pid)[0]
    return ""


def _stat(pid: int) -> list[str]:
    """State, parent and so on; the name before them, in parentheses, may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def run(target: str, report: Path, draw: random.Random, pause_s: float, every_s: float) -> list[float]:
    """Run one target with pytest. returns: the pauses made, in seconds."""
    where = f"tests/{target}" if target in SUITES else target
    suite = where.removeprefix("tests/").partition("/")[0]
    side_by_side = SIDE_BY_SIDE.get(suite, ()) if "::" not in where else ()
    command = [sys.executable, "-m", "pytest", "-q", where, f"--junitxml={report}", *_SUITE_OPTIONS, *side_by_side]
    pauses = Pauses(os.getpid(), draw, pause_s, every_s, threading.Event(), [])
    pausing = threading.Thread(target=pauses.run, name="pauses")
    pausing.start()
    try:
        subprocess.run(command, cwd=ROOT, check=False)
    finally:
        pauses.over.set()
        pausing.join()
    return pauses.made


def failures(report: Path) -> Iterator[tuple[str, str]]:
    """(test, first line of what it said) of each that failed; of a run without a report, the run itself."""
    if not report.exists():
        yield report.stem, "pytest wrote no report"
        return
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        for kind in ("failure", "error"):
            problem = case.find(kind)
            if problem is not None:
                yield f"{case.get('classname', '')}::{case.get('name', '')}", problem.get("message", "").split("\n")[0]


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def summary(stories: dict[str, Story], rounds: int) -> list[str]:
    """A line for each test that failed, the most frequent first, and a last one with the totals."""
    worst = sorted(stories.items(), key=lambda item: (-len(item[1].failed_in), item[0]))
    lines = [
        f"failed in {len(story.failed_in)} of {rounds} rounds: {name}\n    {story.message[:300]}"
        for name, story in worst
    ]
    return [*lines, f"{len(stories)} tests failed in {rounds} rounds"]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=["unit", "sim", "integration", "e2e"], metavar="target")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--loops", type=int, default=2, help="processes that compute beside the tests")
    parser.add_argument("--pause-s", type=float, default=0.5, help="the longest pause of a process")
    parser.add_argument("--every-s", type=float, default=0.3, help="mean time between two pauses")
    given = parser.parse_args(argv)
    # What a killed driver leaves behind stays below us, and is paused too.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    stories: dict[str, Story] = defaultdict(Story)
    with tempfile.TemporaryDirectory(prefix="manta-stress-") as folder, busy_loops(given.loops):
        for number in range(given.rounds):
            for index, target in enumerate(given.targets):
                print(f"\n== round {number + 1} of {given.rounds}: {target} (seed {given.seed})", flush=True)
                report = Path(folder) / f"{number}-{index}.xml"
                draw = random.Random(f"{given.seed} {number} {target}")
                made = run(target, report, draw, given.pause_s, given.every_s)
                print(f"== {len(made)} pauses, {sum(made):.1f} s together", flush=True)
                for name, message in failures(report):
                    story = stories[name]
                    story.message = story.message or message
                    story.failed_in.append(number + 1)
    print("\n" + "\n".join(summary(stories, given.rounds)), flush=True)
    return 1 if stories else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
