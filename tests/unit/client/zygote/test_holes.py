"""A zygote fills the holes of allocators that it knows, and takes nothing from others."""

import os
import subprocess
import sys

PROGRAM = """
import resource, sys
import numpy, ray._runtime.process.worker_main
from ray._zygote import holes

if len(sys.argv) == 1:
    # Has the kernel put mappings below the heap, from the next program on.
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
    import os
    os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2], "again"])


def size_kib(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


kept = [bytearray(number % 3000) for number in range(20_000)]
del kept[::2]
before = size_kib("VmSize")
holes.fill_holes_between_objects()
holes.fill_holes_between_blocks()
print(sum(map(len, holes._filling)), size_kib("VmSize") - before)
"""


def filled(**variables: str) -> tuple[int, int]:
    """Bytes of Python's allocator, and KiB of addresses that it took."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    objects, size = done.stdout.split()
    return int(objects), int(size)


def test_holes_of_the_usual_allocators_are_filled_and_little_besides() -> None:
    objects, size = filled()
    assert 0 < objects < 1_000_000
    assert size < 16 * 1024


def test_nothing_is_made_where_python_has_another_allocator() -> None:
    assert filled(PYTHONMALLOC="malloc")[0] == 0
    assert filled(PYTHONMALLOC="debug")[0] == 0


def test_blocks_that_lie_below_the_heap_are_not_taken_for_holes_in_it() -> None:
    assert filled(MALLOC_MMAP_THRESHOLD_="2048")[1] < 16 * 1024
