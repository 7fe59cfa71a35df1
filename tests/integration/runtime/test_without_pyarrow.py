"""pyarrow is imported where the user's values need it, and nowhere else."""

from pathlib import Path

from tests.integration.runtime.driver_program import DriverProgram

LARGE_VALUES = """
import json, sys
import ray

def loaded():
    return sorted({"numpy", "pyarrow"} & sys.modules.keys())

ray.init(num_cpus=2, object_store_memory=512 << 20, log_to_driver=False)

@ray.remote
def size_of(value):
    return len(value), loaded()

@ray.remote
def ones(count):
    import numpy
    return numpy.ones(count, dtype="u1")

@ray.remote
class Holder:
    def hold(self, value):
        self.value = value
        return len(value), loaded()

    def give(self):
        return self.value

size = 20 << 20
# Enough, and one after the other, for workers of both kinds: those that come with numpy, and those that do not.
answers = [ray.get(size_of.options(num_cpus=cpus).remote(ray.put(b"x" * size))) for cpus in (1, 2) for _ in range(3)]
assert ray.get(ray.put(b"y" * size)) == b"y" * size
print("bytes", json.dumps([loaded(), answers]))

array = ray.get(ones.remote(size))
holder = Holder.remote()
answers = [ray.get(size_of.remote(array)), ray.get(holder.hold.remote(ray.put(array)))]
assert ray.get(holder.give.remote()).sum() == size
print("array", json.dumps([loaded(), answers]))
ray.shutdown()
"""


def test_neither_driver_nor_worker_imports_it_for_large_bytes_and_arrays(tmp_path: Path) -> None:
    with DriverProgram(LARGE_VALUES, tmp_path / "root") as driver:
        lines = driver.end()
    assert len(lines) == 2
    assert not any("pyarrow" in line for line in lines), lines
    assert lines[0].startswith("bytes [[], [[20971520, ")
    assert lines[1].startswith('array [["numpy"], [[20971520, ["numpy"]], [20971520, ["numpy"]]]')


TABLES = """
import ray
import pyarrow as pa

ray.init(num_cpus=3, object_store_memory=512 << 20, log_to_driver=False)

@ray.remote(num_cpus=2)
def doubled(table):
    return pa.table({"n": pa.compute.multiply(table["n"], 2)}), pa.cpu_count()

@ray.remote(num_cpus=1)
class Holder:
    def hold(self, table):
        self.table = table
        return pa.cpu_count()

    def total(self):
        return pa.compute.sum(self.table["n"]).as_py()

import pyarrow.compute
table = pa.table({"n": range(500_000)})
ref = ray.put(table)
assert ray.get(ref).equals(table)
result, threads = ray.get(doubled.remote(ref))
assert result["n"][499_999].as_py() == 999_998
holder = Holder.remote()
print(threads, ray.get(holder.hold.remote(result)))
del ref, result
print(ray.get(holder.total.remote()))
ray.shutdown()
"""


def test_tables_travel_and_arrow_has_as_many_threads_as_its_worker_has_cpus(tmp_path: Path) -> None:
    with DriverProgram(TABLES, tmp_path / "root") as driver:
        assert driver.end() == ["2 1", str(2 * sum(range(500_000)))]
