"""The disk under the GCS's store is full for a while: a process that may write no file sees what it sees then."""

import contextlib
import resource
from collections.abc import Iterator

import pytest
import ray
from ray.exceptions import RpcError

from tests.integration.conditions import wait_for
from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.node_processes import NodeProcesses

WAIT_S = 2


@ray.remote
def double(number: int) -> int:
    return 2 * number


@ray.remote(num_cpus=0)
class Named:
    def ping(self) -> str:
        return "pong"


@contextlib.contextmanager
def no_writes(pid: int) -> Iterator[None]:
    """The process's writes to files fail until the end."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_fails_what_needs_the_gcs_in_time_and_is_over_once_there_is_room(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANTA_WAIT_FOR_GCS_S", str(WAIT_S))
    cluster = start_cluster({"num_cpus": 2})
    head = cluster.head_node
    assert head is not None
    pid = NodeProcesses.of(head).pid("gcs")
    before = Named.options(name="before").remote()
    assert ray.get(before.ping.remote()) == "pong"
    with no_writes(pid):
        with pytest.raises(RpcError, match="MANTA_WAIT_FOR_GCS_S"):
            Named.options(name="meanwhile").remote()
        # What needs no GCS goes on.
        assert ray.get([double.remote(number) for number in range(10)]) == [2 * number for number in range(10)]
        assert ray.get(before.ping.remote()) == "pong"
    made = []

    def created() -> bool:
        # The one that nobody got a handle of is ended, which takes a moment too.
        with contextlib.suppress(RpcError, ValueError):
            made.append(Named.options(name="meanwhile").remote())
        return bool(made)

    wait_for(created, "a named actor can be created again", 60)
    assert ray.get(made[0].ping.remote(), timeout=60) == "pong"
    assert ray.get(ray.get_actor("before").ping.remote(), timeout=60) == "pong"
    assert NodeProcesses.of(head).pid("gcs") == pid, "it went on by itself"
