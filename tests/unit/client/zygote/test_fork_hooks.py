"""A zygote's forks run few of Python's hooks; its children have them all again."""

import os
import subprocess
import sys
import textwrap

PRELUDE = """
import concurrent.futures.thread, gc, json, logging, os, random, threading
from ray._zygote.fork_hooks import ForkHooks

hooks = ForkHooks()
gc.freeze()
log = []
os.register_at_fork(before=lambda: log.append("before"), after_in_child=lambda: log.append("child"))
whole = [list(names) for names in hooks._lists]
steps = hooks.leave_out()

def child(*, restored):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if restored:
            for call, arguments in steps:
                call(*arguments)
        os.write(writer, json.dumps(report()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return json.loads(os.read(reader, 1 << 16))

def report():
    return {
        "log": log,
        "whole": [list(hooks) for hooks in hooks._lists] == whole,
        "native": threading.main_thread().native_id == os.getpid(),
        "current": threading.current_thread() is threading.main_thread(),
        "logging": logging.getLogger().isEnabledFor(logging.ERROR),
    }
"""


def run(program: str) -> str:
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_hooks_of_threading_logging_random_and_futures_are_left_out_and_others_run() -> None:
    program = """
    names = [[hook.__qualname__ for hook in hooks] for hooks in hooks._lists]
    assert names == [["<lambda>"], [], ["<lambda>"]], names
    found = child(restored=False)
    assert found["log"] == ["before", "child"], found
    print("left out")
    """
    assert run(program) == "left out"


def test_a_child_that_takes_the_steps_has_all_hooks_for_its_own_forks() -> None:
    program = """
    found = child(restored=True)
    assert found["whole"] and found["native"] and found["current"] and found["logging"], found
    assert not child(restored=False)["native"]
    print("restored")
    """
    assert run(program) == "restored"


def test_what_is_registered_between_two_times_is_kept() -> None:
    program = """
    os.register_at_fork(after_in_child=lambda: log.append("later"))
    steps = hooks.leave_out()
    assert [len(hooks) for hooks in hooks._lists] == [1, 0, 2]
    assert child(restored=False)["log"] == ["before", "child", "later"]
    for call, arguments in steps:
        call(*arguments)
    assert [len(hooks) for hooks in hooks._lists] == [len(whole[0]), len(whole[1]), len(whole[2]) + 1]
    print("kept")
    """
    assert run(program) == "kept"


def test_a_group_of_which_one_hook_is_not_found_runs_whole() -> None:
    program = """
    for call, arguments in steps:
        call(*arguments)
    hooks._lists[1].remove(next(hook for hook in hooks._lists[1] if hook.__module__ == "logging"))
    hooks._all = []
    hooks.leave_out()
    assert any(hook.__module__ == "logging" for hook in hooks._lists[0])
    assert any(hook.__module__ == "logging" for hook in hooks._lists[2])
    print("whole")
    """
    assert run(program) == "whole"
