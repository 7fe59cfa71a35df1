import os
from pathlib import Path

import pytest
from ray._node.resources import OBJECT_STORE_MINIMUM_BYTES, Machine, Wanted, node_resources, visible_gpus

GIB = 1 << 30
AFFINITY = len(os.sched_getaffinity(0))


def machine(root: Path, files: dict[str, str], *, available: int = 10 * GIB, cgroup: str = "0::/\n") -> Machine:
    contents = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {available >> 10} kB\n", "proc/self/cgroup": cgroup}
    for name, text in {**contents, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


def totals(found: Machine, env: dict[str, str] | None = None, **wanted: object) -> dict[str, float]:
    return node_resources(Wanted(**wanted), machine=found, env=env or {}, node_ip="10.0.0.1", is_head=False)  # type: ignore[arg-type]


def test_without_limits_the_affinity_decides(tmp_path: Path) -> None:
    assert machine(tmp_path, {}).cpus() == AFFINITY


@pytest.mark.parametrize(
    ("quota", "cpus"), [("50000 100000", 1), ("150000 100000", min(2, AFFINITY)), ("max 100000", AFFINITY)]
)
def test_a_quota_of_cgroup_v2_limits_the_cpus(tmp_path: Path, quota: str, cpus: int) -> None:
    assert machine(tmp_path, {"sys/fs/cgroup/cpu.max": quota}).cpus() == cpus


def test_a_quota_of_a_group_above_ours_limits_too(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/a/cpu.max": "100000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}
    assert machine(tmp_path, files, cgroup="0::/a/b\n").cpus() == 1


def test_a_quota_of_cgroup_v1_limits_the_cpus(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "100000", "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000"}
    assert machine(tmp_path, files, cgroup="4:cpu,cpuacct:/x\n").cpus() == 1
    assert machine(tmp_path, files, cgroup="4:cpu:/x\n").cpus() == 1
    assert machine(tmp_path, {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1"}, cgroup="4:cpu:/x\n").cpus() == AFFINITY


def test_a_path_of_the_host_that_a_container_does_not_see_falls_back_to_the_top(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "100000 100000"}
    assert machine(tmp_path, files, cgroup="0::/docker/abc\n").cpus() == 1


def test_available_memory_is_what_the_limit_of_cgroup_v2_leaves(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": str(4 * GIB),
        "sys/fs/cgroup/memory.current": str(3 * GIB),
        "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {GIB}\n",
    }
    assert machine(tmp_path, files).available_memory() == 2 * GIB


def test_available_memory_is_what_the_limit_of_cgroup_v1_leaves(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(4 * GIB),
        "sys/fs/cgroup/memory/x/memory.usage_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(8 * GIB),
    }
    assert machine(tmp_path, files, cgroup="4:memory:/x\n").available_memory() == 3 * GIB


def test_memory_is_shared_seven_to_three(tmp_path: Path) -> None:
    found = totals(machine(tmp_path, {}))
    assert found["memory"] == 7 * GIB
    assert found["object_store_memory"] == 3 * GIB
    assert found["node:10.0.0.1"] == 1.0


def test_the_users_amounts_win(tmp_path: Path) -> None:
    found = totals(
        machine(tmp_path, {}), num_cpus=0, num_gpus=2, memory=GIB, object_store_memory=100 << 20, resources={"x": 3}
    )
    assert "CPU" not in found
    assert found["GPU"] == 2
    assert found["memory"] == GIB
    assert found["object_store_memory"] == 100 << 20
    assert found["x"] == 3


def test_the_head_has_a_resource_of_its_own(tmp_path: Path) -> None:
    found = node_resources(Wanted(), machine=machine(tmp_path, {}), env={}, node_ip="h", is_head=True)
    assert found["node:__internal_head__"] == 1.0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"resources": {"CPU": 1}}, "num_cpus"),
        ({"resources": {"GPU": 1}}, "num_gpus"),
        ({"resources": {"memory": 1}}, "memory"),
        ({"resources": {"object_store_memory": 1}}, "object_store_memory"),
        ({"resources": {"x": -1}}, "must not be negative"),
        ({"resources": {"x": 1.5}}, "whole numbers"),
        ({"resources": {"x": float("nan")}}, "must be a number"),
        ({"resources": {"x": 1e15}}, "the most is"),
        ({"num_cpus": -1}, "must not be negative"),
        ({"num_cpus": 1.5}, "whole numbers"),
        ({"object_store_memory": 1024}, str(OBJECT_STORE_MINIMUM_BYTES)),
        ({"object_store_memory": 11 * GIB}, "leaves nothing"),
    ],
)
def test_amounts_that_cannot_be_are_refused_by_name(tmp_path: Path, wanted: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        totals(machine(tmp_path, {}), **wanted)


def test_no_driver_means_no_gpus(tmp_path: Path) -> None:
    assert machine(tmp_path, {}).gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == 0


def test_visible_devices_limit_the_gpus_found(tmp_path: Path) -> None:
    found = machine(tmp_path, {f"proc/driver/nvidia/gpus/{index}/information": "" for index in range(4)})
    assert found.gpus({}) == 4
    assert found.gpus({"CUDA_VISIBLE_DEVICES": "2,3"}) == 2
    assert found.gpus({"CUDA_VISIBLE_DEVICES": ""}) == 0


def test_more_gpus_than_visible_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES"):
        totals(machine(tmp_path, {}), {"CUDA_VISIBLE_DEVICES": "0"}, num_gpus=2)


@pytest.mark.parametrize(
    ("text", "devices"), [("", []), ("0, 1", ["0", "1"]), ("-1", []), ("0,-1,1", ["0"]), ("NoDevFiles", [])]
)
def test_visible_devices_are_read_as_cuda_does(text: str, devices: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": text}) == devices


def test_the_real_machine_is_read_without_error() -> None:
    found = totals(Machine())
    assert found["CPU"] >= 1
    assert found["memory"] > 0


def test_resources_of_the_environment_beat_what_is_given(tmp_path: Path) -> None:
    found = machine(tmp_path, {})
    env = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 7, "object_store_memory": 100000000, "extra": 3, "both": 4}'}
    got = totals(found, env, num_cpus=2, resources={"own": 1, "both": 1})
    assert (got["CPU"], got["object_store_memory"]) == (7, 100_000_000)
    assert (got["own"], got["extra"], got["both"]) == (1, 3, 4)


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_resources_of_the_environment_that_are_no_object_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="RAY_OVERRIDE_RESOURCES"):
        totals(machine(tmp_path, {}), {"RAY_OVERRIDE_RESOURCES": text})


def test_the_environment_bounds_the_object_store_that_nobody_sized(tmp_path: Path) -> None:
    found = machine(tmp_path, {})
    bound = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(GIB)}
    assert totals(found, bound)["object_store_memory"] == GIB
    assert totals(found, bound)["memory"] == 9 * GIB
    assert totals(found, bound, object_store_memory=2 * GIB)["object_store_memory"] == 2 * GIB
    half = {"RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION": "0.5"}
    assert totals(found, half)["object_store_memory"] == 5 * GIB
    with pytest.raises(ValueError, match="MAX_MEMORY_BYTES"):
        totals(found, {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "much"})
