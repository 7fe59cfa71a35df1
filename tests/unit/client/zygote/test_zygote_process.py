import json
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from manta_common.channel.framing import encode_frame
from manta_common.version import PROTOCOL, Version
from manta_proto.zygote.v1 import zygote_pb2

from tests.unit.client.zygote_peer import ZygotePeer


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZygotePeer]:
    peer = ZygotePeer(tmp_path_factory.mktemp("zygote"))
    ready = peer.wait_ready()
    assert ready.pid == peer.process.pid
    yield peer
    peer.close()
    assert peer.process.returncode == 0


def test_the_zygote_has_one_thread_after_its_imports(zygote: ZygotePeer) -> None:
    assert len(os.listdir(f"/proc/{zygote.process.pid}/task")) == 1


def test_two_workers_draw_different_random_numbers_and_prefixes(zygote: ZygotePeer) -> None:
    code = """
import random, uuid, tempfile, numpy
answer = [random.random(), numpy.random.random(), uuid.uuid4().hex, prefix, tempfile.mktemp()]
"""
    first, second = zygote.fork(code), zygote.fork(code)
    for one, other in zip(first.answer(), second.answer(), strict=True):
        assert one != other


def test_a_lease_of_two_cpus_gives_two_blas_threads_and_one_cpu_one(zygote: ZygotePeer) -> None:
    code = """
import os, numpy, threadpoolctl
a = numpy.random.rand(600, 600)
(a @ a).sum()
answer = {
    "blas": [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"],
    "threads": len(os.listdir("/proc/self/task")),
    "env": os.environ["OMP_NUM_THREADS"],
}
import pyarrow
answer["arrow"] = pyarrow.cpu_count()
"""
    for count in (2, 1):
        answer = zygote.fork(code, num_threads=count).answer()
        assert answer["blas"] == [count]
        assert answer["threads"] == count
        assert answer["env"] == str(count)
        assert answer["arrow"] == count


def test_the_first_workers_import_the_large_libraries_themselves_and_like_the_others(tmp_path: Path) -> None:
    code = """
import sys
had = "numpy" in sys.modules
import numpy, threadpoolctl
(numpy.ones((600, 600)) @ numpy.ones((600, 600))).sum()
blas = [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
answer = [had, numpy.random.random(), blas]
"""
    peer = ZygotePeer(tmp_path)
    # Before it is ready, and together: a zygote that has nothing to do for a while would import them.
    requests = [peer.request(code, num_threads=2) for _ in range(3)]
    peer.wait_ready()
    workers = [peer.forked(*request) for request in requests]
    answers = [worker.answer() for worker in workers]
    peer.close()
    assert [had for had, _, _ in answers] == [False, False, True]
    assert len({number for _, number, _ in answers}) == 3
    assert [blas for _, _, blas in answers] == [[2]] * 3


def test_a_worker_holds_no_descriptor_but_its_own(zygote: ZygotePeer) -> None:
    code = """
import os
names = {}
for name in os.listdir("/proc/self/fd"):
    try:
        names[name] = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        continue  # the listing itself
answer = names
"""
    answer = zygote.fork(code).answer()
    assert set(answer) == {"0", "1", "2"}
    assert answer["0"] == "/dev/null"
    assert answer["1"].startswith("pipe:") and answer["2"].startswith("pipe:")


def test_a_worker_leads_its_own_session_with_default_signals(zygote: ZygotePeer) -> None:
    code = """
import os, signal
answer = [os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
          signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.set_wakeup_fd(-1)]
"""
    assert zygote.fork(code).answer() == [True, True, True, -1]


def test_a_worker_sees_variables_folder_and_import_path_of_its_job(zygote: ZygotePeer, tmp_path: Path) -> None:
    (tmp_path / "only_the_driver_has_it.py").write_text("x = 5")
    code = """
import os, sys, only_the_driver_has_it
answer = [os.environ["COLOUR"], os.getcwd(), only_the_driver_has_it.x, sys.argv, "PYTHONPATH" in os.environ]
"""
    worker = zygote.fork(code, env={"COLOUR": "red"}, working_directory=str(tmp_path), sys_path=[str(tmp_path)])
    assert worker.answer() == ["red", str(tmp_path), 5, [""], True]


def test_a_missing_folder_is_told_and_does_not_end_the_worker(zygote: ZygotePeer) -> None:
    worker = zygote.fork("answer = 1", working_directory="/no/such/folder")
    assert json.loads(worker.stdout.read()) == 1
    assert b"/no/such/folder" in worker.stderr.read()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("status = 7", 7),
        ("raise ValueError('x')", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os._exit(3)", 3),
    ],
)
def test_the_end_of_a_worker_is_reported_with_its_code_or_signal(zygote: ZygotePeer, code: str, status: int) -> None:
    assert zygote.exit_of(zygote.fork(code).pid) == status


def test_an_exception_that_leaves_the_worker_is_printed_with_its_traceback(zygote: ZygotePeer) -> None:
    assert b"ValueError: the reason" in zygote.fork("raise ValueError('the reason')").stderr.read()


@pytest.mark.parametrize("env", [{"PYTHONHASHSEED": "0"}, {"OMP_NUM_THREADS": "3"}])
def test_a_variable_read_at_process_start_works_in_a_spawned_worker(zygote: ZygotePeer, env: dict[str, str]) -> None:
    code = """
import os, sys
names = sorted(os.listdir("/proc/self/fd"))
open_ones = [name for name in names if os.path.exists("/proc/self/fd/" + name)]
answer = {"env": dict(os.environ), "flags": sys.flags.hash_randomization, "fds": open_ones,
          "command": open("/proc/self/cmdline").read(), "leader": os.getsid(0) == os.getpid()}
"""
    worker = zygote.fork(code, env=env, num_threads=2)
    answer = worker.answer()
    assert "ray._zygote.spawned" in answer["command"]
    assert env.items() <= answer["env"].items()
    assert answer["env"]["OPENBLAS_NUM_THREADS"] == env.get("OMP_NUM_THREADS", "2")
    assert answer["flags"] == (0 if "PYTHONHASHSEED" in env else 1)
    assert answer["fds"] == ["0", "1", "2"]
    assert answer["leader"]
    assert zygote.exit_of(worker.pid) == 0


def test_an_interpreter_that_is_missing_is_refused_by_name(zygote: ZygotePeer) -> None:
    request, out, err = zygote.request("answer = 1", runtime_env=json.dumps({"py_executable": "/no/such/python"}))
    answer = zygote.answer_to(request)
    os.close(out)
    os.close(err)
    assert isinstance(answer, zygote_pb2.ForkFailed)
    assert "/no/such/python" in answer.message


def test_an_interpreter_that_cannot_be_executed_is_refused_with_the_reason(zygote: ZygotePeer, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF but not really")
    program.chmod(0o700)
    request, out, err = zygote.request("answer = 1", runtime_env=json.dumps({"py_executable": str(program)}))
    answer = zygote.answer_to(request)
    os.close(out)
    os.close(err)
    assert isinstance(answer, zygote_pb2.ForkFailed)
    assert "Exec format error" in answer.message


def test_many_requests_in_one_send_are_all_answered(zygote: ZygotePeer) -> None:
    requests = [zygote.request(f"answer = {number}") for number in range(20)]
    for number, (request, out, err) in enumerate(requests):
        answer = zygote.answer_to(request)
        assert isinstance(answer, zygote_pb2.Forked)
        with os.fdopen(out, "rb") as reader:
            assert json.loads(reader.read()) == number
        os.close(err)


def test_a_zygote_with_a_second_thread_refuses_to_fork(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    peer = ZygotePeer(tmp_path)
    try:
        peer.wait_ready()
        request, out, err = peer.request("answer = 1")
        answer = peer.answer_to(request)
        os.close(out)
        os.close(err)
        assert isinstance(answer, zygote_pb2.ForkFailed)
        assert "2 threads" in answer.message
    finally:
        peer.process.send_signal(signal.SIGKILL)
        peer.close()


def test_a_malformed_frame_ends_the_zygote_with_a_reason(tmp_path: Path) -> None:
    peer = ZygotePeer(tmp_path)
    peer.wait_ready()
    peer.socket.send(encode_frame(zygote_pb2.READY, b""))
    assert peer.process.wait(20) == 1
    peer.close()


def test_a_zygote_ends_with_its_raylet(tmp_path: Path) -> None:
    peer = ZygotePeer(tmp_path)
    peer.wait_ready()
    peer.socket.shutdown(socket.SHUT_RDWR)
    assert peer.process.wait(20) == 0
    peer.close()


def test_a_raylet_one_minor_behind_gets_its_workers(zygote: ZygotePeer) -> None:
    worker = zygote.fork("answer = 1", version_minor=PROTOCOL.minor - 1)
    assert worker.answer() == 1


@pytest.mark.parametrize("theirs", [Version(PROTOCOL.major, PROTOCOL.minor - 2), Version(PROTOCOL.major + 1, 0)])
def test_a_raylet_of_another_version_gets_none_and_is_told_both(zygote: ZygotePeer, theirs: Version) -> None:
    request, out, err = zygote.request("", version_major=theirs.major, version_minor=theirs.minor)
    answer = zygote.answer_to(request)
    os.close(out)
    os.close(err)
    assert isinstance(answer, zygote_pb2.ForkFailed)
    assert str(theirs) in answer.message and str(PROTOCOL) in answer.message


def test_the_zygote_tells_its_version(tmp_path: Path) -> None:
    peer = ZygotePeer(tmp_path)
    ready = peer.wait_ready()
    peer.close()
    assert Version(ready.version_major, ready.version_minor) == PROTOCOL


def test_a_fork_without_room_for_its_descriptors_fails_and_the_zygote_goes_on(zygote: ZygotePeer) -> None:
    pid = zygote.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(len(used) + 2) if number not in used]
    for limit in free[:2]:  # none is left, then one
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limits[1]))
        request, out, err = zygote.request("answer = 1")
        answer = zygote.answer_to(request)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert isinstance(answer, zygote_pb2.ForkFailed) and answer.lacks_room, answer
        os.close(out)
        os.close(err)
    assert zygote.fork("answer = 2").answer() == 2
