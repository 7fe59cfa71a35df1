"""The zygote's free memory: holes between what stays, each on a page that a child would have to copy to use it.

They are filled before the forks, so that what a child makes lies together. Both functions know an allocator; with
another one nothing is gained and nothing lost.
"""

import ctypes
import sys
from typing import Final

# Of CPython's allocator: its sizes from that of an empty string of bytes on, its pools, and where a pool's first block
# lies.
_OBJECT_SIZES: Final = range(48, 513, 16)
_POOL_BYTES: Final = 16 * 1024
_POOL_HEADER: Final = 48
# Of the C library's: sizes of its blocks, the larger ones first, from what is left of which it makes smaller ones. It
# keeps eight bytes of each.
_BLOCK_SIZES: Final = (*range(65_536, 8_192, -1_024), *range(8_192, 1_024, -64), *range(1_024, 16, -16))
_BLOCK_HEADER: Final = 8
# A size that has more keeps the rest; 500 were the most.
_MOST_HOLES: Final = 2_000
_filling: list[bytes] = []


def fill_holes_between_objects() -> None:
    """By the layout of CPython's allocator for small objects. cost: 1 ms."""
    if not sys.getallocatedblocks():
        return  # some other has its place, see PYTHONMALLOC
    header = sys.getsizeof(b"")
    for size in _OBJECT_SIZES:
        for _ in range(_MOST_HOLES):
            _filling.append(bytes(size - header))
            if id(_filling[-1]) % _POOL_BYTES == _POOL_HEADER:
                break  # the first block of a pool that nothing else is in
        else:
            if size == _OBJECT_SIZES.start:  # it begins its blocks elsewhere, as with PYTHONMALLOC=debug
                _filling.clear()
                return


def fill_holes_between_blocks() -> None:
    """By glibc's malloc: give its free pages back, and take what is left until new blocks come from the heap's end.

    A tenth of the zygote's pages were used by its imports and are free, and a fork copies the entry of every page. Of
    blocks that are only taken no page is touched but the one with their size. cost: 1 ms.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        return
    start = _start_of_heap()
    libc.malloc_trim(0)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_size_t, (ctypes.c_size_t,)
    libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_size_t, (ctypes.c_ssize_t,)
    heap = range(start, libc.sbrk(0))
    for size in _BLOCK_SIZES:
        for _ in range(_MOST_HOLES):
            if libc.malloc(size - _BLOCK_HEADER) not in heap:
                break


def _start_of_heap() -> int:
    """Where the C library's heap begins; an allocator that was loaded before it has its blocks anywhere."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            if line.endswith("[heap]\n"):
                return int(line.partition("-")[0], 16)
    return sys.maxsize  # no block is in the heap
