import asyncio
import json
import os
import resource
import select
import signal
import subprocess
import sys

import pytest
from manta_common.process import (
    open_pidfd,
    raise_nofile_limit,
    report_ready,
    stop_on_signals,
    wait_pidfd,
)

LIMIT_S = 10.0


def python(code: str, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


async def test_every_waiter_learns_of_the_end_of_a_process() -> None:
    with python("input()", stdin=subprocess.PIPE) as child:
        fd = open_pidfd(child.pid)
        waiters = [asyncio.ensure_future(wait_pidfd(fd)) for _ in range(3)]
        done, _ = await asyncio.wait(waiters, timeout=0.05)
        assert not done
        child.kill()
        await asyncio.wait_for(asyncio.gather(*waiters), LIMIT_S)
        await asyncio.wait_for(wait_pidfd(fd), LIMIT_S)  # also when it ended long ago
        os.close(fd)


async def test_a_waiter_that_is_cancelled_leaves_no_descriptor() -> None:
    fd = open_pidfd(os.getpid())
    before = os.listdir("/proc/self/fd")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(wait_pidfd(fd), 0.01)
    assert os.listdir("/proc/self/fd") == before
    os.close(fd)


def test_a_pidfd_is_not_inherited_and_a_reaped_process_has_none() -> None:
    fd = open_pidfd(os.getpid())
    assert not os.get_inheritable(fd)
    os.close(fd)
    child = python("")
    child.communicate()
    with pytest.raises(ProcessLookupError):
        open_pidfd(child.pid)


def wait_until_ended(pid: int) -> None:
    try:
        fd = open_pidfd(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], LIMIT_S)[0], f"process {pid} still runs after {LIMIT_S} s"
    finally:
        os.close(fd)


def test_a_child_ends_with_its_parent() -> None:
    grandchild = (
        "import signal; from manta_common.process import die_with_parent; die_with_parent();"
        "print('ready', flush=True); signal.pause()"
    )
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {grandchild!r}], stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "input()\n"
    )
    with python(code, stdin=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        wait_until_ended(pid)


def test_a_child_whose_parent_is_gone_already_ends() -> None:
    code = f"from manta_common.process import die_with_parent; die_with_parent({os.getpid() + 1}); input()"
    with python(code, stdin=subprocess.PIPE) as child:
        assert child.wait(LIMIT_S) == -signal.SIGTERM


def test_a_child_of_the_named_parent_goes_on() -> None:
    code = f"from manta_common.process import die_with_parent; die_with_parent({os.getpid()}); print('alive')"
    with python(code) as child:
        assert child.communicate(timeout=LIMIT_S)[0] == "alive\n"


def test_a_subreaper_becomes_the_parent_of_orphans() -> None:
    code = (
        "import os, subprocess, sys\n"
        "from manta_common.process import set_child_subreaper\n"
        "set_child_subreaper()\n"
        "orphan = 'import os; os.fork() and os._exit(0); input(); print(os.getppid())'\n"
        "r, w = os.pipe()\n"
        "subprocess.run([sys.executable, '-c', orphan], stdin=r, check=True)\n"
        "os.write(w, b'go\\n')\n"
        "os.waitpid(-1, 0)\n"
        "print(os.getpid())\n"
    )
    with python(code) as child:
        seen, own = child.communicate(timeout=LIMIT_S)[0].split()
    assert seen == own


def test_the_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        assert raise_nofile_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_readiness_is_one_json_line_and_the_pipe_ends() -> None:
    reader, writer = os.pipe()
    report_ready(writer, {"address": "127.0.0.1:5", "metrics_port": 7})
    with os.fdopen(reader) as pipe:
        assert json.loads(pipe.read()) == {"address": "127.0.0.1:5", "metrics_port": 7}
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(writer)
    report_ready(-1, {})


def test_a_starter_that_is_gone_shows() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        report_ready(writer, {})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_stop_event(number: signal.Signals) -> None:
    loop = asyncio.get_running_loop()
    stop = stop_on_signals(loop)
    try:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), LIMIT_S)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


def test_what_a_service_has_at_its_start_is_not_collected_again() -> None:
    program = (
        "import gc; from manta_common.process import collect_seldom; "
        "kept = [[] for _ in range(1000)]; collect_seldom(); "
        "assert gc.get_freeze_count() > 1000 and gc.get_threshold()[0] == 10_000; "
        "a = []; a.append(a); del a; assert gc.collect() >= 1"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("closed", [(), (0,), (1, 2), (0, 1, 2)])
def test_closed_standard_descriptors_are_filled_and_open_ones_stay(closed: tuple[int, ...]) -> None:
    program = (
        "import os, sys\n"
        "from manta_common.process import fill_standard_descriptors\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        f"for number in {closed}: os.close(number)\n"
        "fill_standard_descriptors()\n"
        f"assert all(os.path.samestat(os.fstat(number), os.stat('/dev/null')) for number in {closed})\n"
        "assert all(os.get_inheritable(number) for number in range(3))\n"
        "sys.exit(len(os.listdir('/proc/self/fd')) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == 0
