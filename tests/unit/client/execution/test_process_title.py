"""What ps shows of a worker, and when that changes."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from ray._runtime.execution.process_title import ProcessTitle, WorkerTitle

PROGRAM = """
import os, sys
from ray._runtime.execution.process_title import ProcessTitle

title = ProcessTitle()
for text in ("ray::f", "ray::" + "x" * 10_000, "ray::A.method"):
    title.write(text)
    if not os.fork():
        title.write("ray::child")
        os._exit(0)
    os.wait()
    shown = open("/proc/self/cmdline").read().rstrip(chr(0))
    assert text.startswith(shown) and len(shown) > 5, shown
    assert open("/proc/self/comm").read().strip() == text[:15]
    assert os.environ["KEPT"] == open("/proc/self/environ").read().partition("KEPT=")[2].partition(chr(0))[0] == "yes"
"""


def test_the_command_line_is_overwritten_and_nothing_else() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env={"KEPT": "yes"}, timeout=60)


class Title(ProcessTitle):
    def __init__(self) -> None:
        self.shown: list[str] = []

    def write(self, title: str) -> None:
        self.shown.append(title)


def a_call(name: str, started_at: float) -> Any:
    return SimpleNamespace(name=name, function_name=name, started_at=started_at, over=False)


def test_only_a_call_that_runs_for_long_is_named_and_the_oldest_first() -> None:
    written, running = Title(), list[tuple[Any, bool]]()
    title = WorkerTitle(written)
    title.look(100.0, running)
    assert written.shown == []
    title.begin()
    short, long, longer = a_call("short", 99.999), a_call("test.<locals>.A.long", 99.9), a_call("longer", 99.8)
    running += [(short, False), (a_call("", 99.0), False)]
    title.look(100.0, running)
    assert title.named is None
    running += [(long, False), (longer, True)]
    title.look(100.0, running)
    title.look(100.1, running)
    assert written.shown == ["ray::IDLE", "ray::longer"]
    longer.over = True
    running.remove((longer, True))
    title.look(100.2, running)
    assert written.shown[-1] == "ray::A.long"


def test_a_worker_that_has_an_actor_is_shown_by_its_class() -> None:
    written = Title()
    title = WorkerTitle(written)
    title.begin()
    title.idle("A")
    call = a_call("A.method", 0.0)
    title.name(call)
    title.idle()
    assert written.shown == ["ray::IDLE", "ray::A", "ray::A.method", "ray::A"]


def test_a_call_that_ends_while_it_is_named_is_not_left_in_the_title() -> None:
    written = Title()
    title = WorkerTitle(written)
    title.begin()
    call = a_call("f", 0.0)
    call.over = True
    title.name(call)
    assert written.shown[-1] == "ray::IDLE"
    assert title.named is None
