"""What a zygote prepares once for all workers of a kind, and what kinds must not learn of each other."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from manta_proto.zygote.v1 import zygote_pb2

from tests.unit.client.zygote_peer import WORKER, ZygotePeer

# Job configuration is the code that a worker runs, the namespace what prepare() runs in the zygote.
PREPARES = (
    WORKER.replace("def run(fork):", "def run(fork, prepared):").replace('"fork": fork', '"prepared": prepared')
    + """
import weakref

count = 0
living = weakref.WeakSet()


class Kept:
    def __init__(self):
        self.me = self
        living.add(self)


def prepare(fork):
    global count
    count += 1
    scope = {"count": count, "Kept": Kept, "living": living, "os": os}
    exec(fork.ray_namespace, scope)
    return scope.get("made")
"""
)


@pytest.fixture
def zygote(tmp_path: Path) -> Iterator[ZygotePeer]:
    peer = ZygotePeer(tmp_path, worker=PREPARES)
    peer.wait_ready()
    yield peer
    peer.close()


def refused(zygote: ZygotePeer, code: str = "", **fields: object) -> str:
    request, out, err = zygote.request(code, **fields)
    answer = zygote.answer_to(request)
    os.close(out)
    os.close(err)
    assert isinstance(answer, zygote_pb2.ForkFailed), answer
    return answer.message


def test_a_kind_that_cannot_be_prepared_is_refused_by_its_reason_and_others_get_workers(zygote: ZygotePeer) -> None:
    for _ in range(2):
        assert "it lacks a key" in refused(zygote, ray_namespace="raise Exception('it lacks a key')")
    assert zygote.fork("answer = 1").answer() == 1


def test_a_variable_that_cannot_be_set_is_refused_and_none_of_its_kind_stays(zygote: ZygotePeer) -> None:
    code = "import os; answer = [name for name in os.environ if name.startswith('OF_')]"
    assert zygote.fork(code, env={"OF_ALL": "1"}).answer() == ["OF_ALL"]
    for name in ("WITH=SIGN", ""):
        assert "variable" in refused(zygote, env={"OF_ANOTHER": "1", name: "1", "OF_THIRD": "1"})
    assert zygote.fork(code, env={"OF_ALL": "1"}).answer() == ["OF_ALL"]


def test_a_kind_is_prepared_with_its_own_variables(zygote: ZygotePeer) -> None:
    reads = "made = os.environ.get('COLOUR')"
    for colour in ("red", "blue"):
        worker = zygote.fork("answer = prepared", env={"COLOUR": colour}, ray_namespace=reads)
        assert worker.answer() == colour
    assert zygote.fork("answer = prepared", ray_namespace=reads).answer() is None


def test_a_kind_that_is_in_use_stays_prepared_while_others_come_and_go(zygote: ZygotePeer) -> None:
    # After the first two workers the zygote imports the large libraries and prepares all anew.
    for _ in range(3):
        zygote.fork("answer = 1").answer()
    numbers = set()
    for other in range(40):
        numbers.add(zygote.fork("answer = prepared", ray_namespace="made = count").answer())
        zygote.fork("answer = 1", ray_namespace=f"# {other}").answer()
    assert len(numbers) == 1


def test_what_was_prepared_for_kinds_that_are_gone_is_freed_although_it_lies_in_cycles(zygote: ZygotePeer) -> None:
    for other in range(40):
        zygote.fork("answer = 1", ray_namespace=f"made = Kept()  # {other}").answer()
    # Those that are kept, and the one that had to go for this.
    assert zygote.fork("answer = prepared", ray_namespace="made = len(living)").answer() <= 17


def test_a_hook_that_is_registered_as_a_kind_is_prepared_is_there_for_the_forks_of_its_workers(
    zygote: ZygotePeer,
) -> None:
    registers = "made = []; os.register_at_fork(after_in_child=lambda: made.append(os.getpid()))"
    code = """
import os
import resource
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(writer, str(os.getpid() in prepared).encode())
    os._exit(0)
os.waitpid(pid, 0)
answer = [os.getpid() in prepared, os.read(reader, 100).decode()]
"""
    for _ in range(2):
        assert zygote.fork(code, ray_namespace=registers).answer() == [True, "True"]


def descriptors(zygote: ZygotePeer) -> set[int]:
    return {int(name) for name in os.listdir(f"/proc/{zygote.process.pid}/fd")}


# Two come with the request; a pipe needs two more, then there is a file in memory.
@pytest.mark.parametrize("free", [2, 4])
def test_a_spawned_worker_without_descriptors_is_refused_and_the_next_gets_its_own(
    zygote: ZygotePeer, free: int
) -> None:
    before = resource.prlimit(zygote.process.pid, resource.RLIMIT_NOFILE)
    used = descriptors(zygote)
    limit = [number for number in range(100) if number not in used][free]
    resource.prlimit(zygote.process.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    assert "Too many open files" in refused(zygote, env={"PYTHONHASHSEED": "0"})
    resource.prlimit(zygote.process.pid, resource.RLIMIT_NOFILE, before)
    assert zygote.fork("answer = 1").answer() == 1
    assert descriptors(zygote) == used
