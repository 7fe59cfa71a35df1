"""Views of shared memory: shared, read-only, and unchanged for as long as they live."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import ray
from ray._runtime.current import runtime

from tests.integration.conditions import wait_for
from tests.integration.runtime.conftest import MIB
from tests.integration.runtime.memory_maps import place_of

pytestmark = pytest.mark.usefixtures("session")
ARENA = 512 * MIB


@ray.remote
def where(array: Any) -> Any:
    return place_of(array), array.flags.writeable, float(array.sum()), os.getpid()


@ray.remote
def make(count: int, value: int) -> Any:
    return np.full(count, value, dtype="uint8")


def overwrite_the_arena(rounds: int = 2) -> None:
    """Put and drop more bytes than the arena has, so that every free range is written to."""
    for number in range(rounds * ARENA // (32 * MIB)):
        ray.put(np.full(32 * MIB, number % 200 + 1, dtype="uint8"))


def used_bytes() -> int:
    return int(runtime().arena.describe().used)  # type: ignore[attr-defined]


def test_a_driver_and_two_workers_see_the_same_bytes() -> None:
    ref = ray.put(np.arange(1_000_000))
    mine = ray.get(ref)
    here = place_of(mine)
    assert here is not None and not here.writable
    # Two at once, so that they are two processes.
    answers = ray.get([where.remote(ref) for _ in range(2)])
    for place, writeable, total, pid in answers:
        assert place == here
        assert not writeable
        assert total == mine.sum()
        assert pid != os.getpid()


def test_a_result_is_read_where_the_worker_wrote_it() -> None:
    ref = make.remote(5 * MIB, 3)
    array = ray.get(ref)
    assert place_of(array) == ray.get(where.remote(ref))[0]
    assert (array == 3).all()


def test_two_gets_give_views_of_the_same_bytes() -> None:
    ref = ray.put(np.ones(1_000_000))
    assert place_of(ray.get(ref)) == place_of(ray.get(ref))


def test_views_are_read_only_also_in_tasks() -> None:
    array = ray.get(ray.put(np.ones(1_000_000)))
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True

    @ray.remote
    def write(values: Any) -> None:
        values[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        ray.get(write.remote(ray.put(np.zeros(1_000_000))))


def test_buffers_are_aligned_to_64_bytes() -> None:
    arrays = ray.get(ray.put([np.ones(100_001, dtype="uint8"), np.ones(33_333), np.ones(7, dtype="int16")]))
    assert [array.__array_interface__["data"][0] % 64 for array in arrays] == [0, 0, 0]


def test_arrays_within_containers_and_objects_are_views_too() -> None:
    class Holder:
        def __init__(self, array: Any) -> None:
            self.array = array

    holder = ray.get(ray.put(Holder({"x": [np.ones(1_000_000)]})))
    assert place_of(holder.array["x"][0]) is not None


def test_the_later_change_of_the_original_is_not_seen() -> None:
    original = np.zeros(1_000_000)
    ref = ray.put(original)
    original[:] = 5
    assert ray.get(ref).sum() == 0


def test_fortran_order_slices_and_dtypes_survive() -> None:
    base = np.arange(400_000).reshape(400, 1000)
    for array in (
        np.asfortranarray(base),
        base[::2, ::3],
        base.astype("complex64"),
        base.view("datetime64[s]"),
        base.T,
    ):
        got = ray.get(ray.put(array))
        assert got.dtype == array.dtype
        assert np.array_equal(got, array)


def test_an_arrow_table_is_read_in_place() -> None:
    table = pa.table({"number": np.arange(500_000), "text": [str(number) for number in range(500_000)]})
    got = ray.get(ray.put(table))
    assert got.equals(table)
    assert place_of(got["number"].chunk(0).to_numpy()) is not None

    @ray.remote
    def total(table: Any) -> int:
        return int(pa.compute.sum(table["number"]).as_py())

    import pyarrow.compute  # noqa: F401

    assert ray.get(total.remote(got)) == sum(range(500_000))


def test_a_pandas_frame_is_read_in_place() -> None:
    frame = pd.DataFrame({"a": np.arange(500_000), "b": np.random.default_rng(1).normal(size=500_000)})
    got = ray.get(ray.put(frame))
    pd.testing.assert_frame_equal(got, frame)
    assert place_of(got["b"].to_numpy()) is not None
    pd.testing.assert_series_equal(got.sum(), frame.sum())


def test_a_view_outlives_its_reference_under_the_pressure_of_a_whole_arena() -> None:
    array = ray.get(ray.put(np.full(20 * MIB, 77, dtype="uint8")))
    overwrite_the_arena()
    assert (array == 77).all()


def test_part_of_a_view_keeps_all_of_it() -> None:
    part = ray.get(ray.put({"array": np.full(20 * MIB, 78, dtype="uint8")}))["array"][1000:2000]
    overwrite_the_arena()
    assert (part == 78).all()


def test_a_view_of_an_argument_outlives_its_task() -> None:
    @ray.remote
    class Keeper:
        def keep(self, array: Any) -> None:
            self.array = array

        def check(self) -> bool:
            return bool((self.array == 79).all()) and place_of(self.array) is not None

    keeper = Keeper.remote()
    ref = ray.put(np.full(20 * MIB, 79, dtype="uint8"))
    ray.get(keeper.keep.remote(ref))
    del ref
    overwrite_the_arena()
    assert ray.get(keeper.check.remote())


def test_a_view_outlives_the_worker_that_owned_it() -> None:
    @ray.remote
    class Owner:
        def give(self) -> Any:
            return [ray.put(np.full(20 * MIB, 80, dtype="uint8"))], os.getpid()

    owner = Owner.remote()
    (ref,), pid = ray.get(owner.give.remote())
    array = ray.get(ref)
    os.kill(pid, signal.SIGKILL)
    del ref
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(owner.give.remote())
    overwrite_the_arena()
    assert (array == 80).all()


def test_memory_comes_back_when_the_last_view_goes() -> None:
    wait_for(lambda: used_bytes() < 5 * MIB, "earlier tests' objects are gone")
    before = used_bytes()
    array = ray.get(ray.put(np.full(50 * MIB, 1, dtype="uint8")))
    assert used_bytes() >= before + 50 * MIB
    del array
    wait_for(lambda: used_bytes() <= before, f"used bytes come down from {used_bytes()} to {before}")


def test_pins_of_a_killed_worker_end() -> None:
    wait_for(lambda: used_bytes() < 5 * MIB, "earlier tests' objects are gone")
    before = used_bytes()

    @ray.remote
    class Keeper:
        def keep(self, array: Any) -> int:
            self.array = array
            return os.getpid()

    keeper = Keeper.remote()
    ref = ray.put(np.full(50 * MIB, 1, dtype="uint8"))
    pid = ray.get(keeper.keep.remote(ref))
    del ref
    ready, _ = ray.wait([keeper.keep.remote(1)], timeout=20)
    assert ready
    ref = ray.put(np.full(50 * MIB, 1, dtype="uint8"))
    ray.get(keeper.keep.remote(ref))
    del ref
    assert used_bytes() >= before + 50 * MIB
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: used_bytes() <= before, f"used bytes come down from {used_bytes()} to {before}")


def test_more_than_the_arena_in_use_is_an_error_that_names_sizes() -> None:
    kept: list[Any] = []

    def fill() -> None:
        while len(kept) <= ARENA // (50 * MIB):
            kept.append(ray.get(ray.put(np.zeros(50 * MIB, dtype="uint8"))))

    with pytest.raises(ray.exceptions.ObjectStoreFullError, match=r"\d"):
        fill()
    assert len(kept) >= 5
    kept.clear()
    assert ray.get(ray.put(np.zeros(50 * MIB, dtype="uint8"))).size == 50 * MIB


def test_a_value_bigger_than_the_arena_is_refused_and_the_rest_goes_on() -> None:
    with pytest.raises(ray.exceptions.ObjectStoreFullError, match=r"\d"):
        ray.put(np.zeros(ARENA + MIB, dtype="uint8"))
    with pytest.raises(ray.exceptions.ObjectStoreFullError):
        ray.get(make.remote(ARENA + MIB, 1))
    assert ray.get(make.remote(MIB, 1)).size == MIB


A_DRIVER_THAT_LEAVES = """
import sys
import numpy as np, ray
ray.init(address=sys.argv[1], log_to_driver=False)
array = ray.get(ray.put(np.full(20 << 20, 81, dtype="uint8")))
ray.shutdown()
print("left", flush=True)
sys.stdin.readline()
print(bool((array == 81).all()), flush=True)
"""


def test_a_view_outlives_the_shutdown_of_a_driver_that_joined(session: Any) -> None:
    token = Path(session["session_dir"], "token").read_text().strip()
    environment = {**os.environ, "MANTA_TOKEN": token, "MANTA_TMPDIR": str(Path(session["session_dir"]).parent)}
    driver = subprocess.Popen(
        [sys.executable, "-c", A_DRIVER_THAT_LEAVES, session["gcs_address"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with driver:
        assert driver.stdin is not None and driver.stdout is not None
        assert driver.stdout.readline() == "left\n"
        overwrite_the_arena()
        driver.stdin.write("\n")
        driver.stdin.flush()
        assert driver.stdout.readline() == "True\n"
        assert driver.wait(20) == 0
    wait_for(lambda: used_bytes() < 5 * MIB, f"the driver's pin has gone with it, used: {used_bytes()}")


def test_a_driver_that_is_killed_leaves_no_bytes(session: Any) -> None:
    token = Path(session["session_dir"], "token").read_text().strip()
    environment = {**os.environ, "MANTA_TOKEN": token, "MANTA_TMPDIR": str(Path(session["session_dir"]).parent)}
    wait_for(lambda: used_bytes() < 5 * MIB, "earlier tests' objects are gone")
    before = used_bytes()
    program = A_DRIVER_THAT_LEAVES.replace("ray.shutdown()\n", "")
    driver = subprocess.Popen(
        [sys.executable, "-c", program, session["gcs_address"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with driver:
        assert driver.stdout is not None and driver.stdin is not None
        assert driver.stdout.readline() == "left\n"
        assert used_bytes() >= before + 20 * MIB
        driver.kill()
    wait_for(lambda: used_bytes() <= before, f"its object and pin are gone, used: {used_bytes()}", 10)


def test_a_gibibyte_travels_by_reference() -> None:
    ray.shutdown()
    ray.init(num_cpus=2, object_store_memory=1400 * MIB, log_to_driver=False)
    try:
        big = np.arange(1024 * MIB // 8)
        ref = ray.put(big)
        place, writeable, total, _ = ray.get(where.remote(ref), timeout=60)
        assert total == float(big.sum()) and not writeable
        assert place == place_of(ray.get(ref))
    finally:
        ray.shutdown()
