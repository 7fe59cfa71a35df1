"""The arena's memory: one sealed memfd, and which part of it is reserved from the kernel."""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa

# Reserving is a system call of some microseconds and 0.2 to 0.6 ms a MiB; small objects share one.
STEP_BYTES: Final = 4 * 1024 * 1024
# Left to everybody else: the kernel would rather kill a process than refuse the last page.
MARGIN_BYTES: Final = 64 * 1024 * 1024


class MemoryShort(Exception):
    """The machine has no memory for a part of the arena that was never used; the text names the sizes."""


def available_memory() -> int:
    """Bytes that this machine, or the control group of this process if that is less, can still give."""
    available = 0
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
                break
    limit, current = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    if limit is not None and current is not None:
        available = min(available, max(0, limit - current))
    return available


class ArenaMemory:
    """One memfd of a fixed size, mapped here and in every client. Reserving may be called from one thread only.

    size: bytes; raised to whole pages. available: bytes that the machine can give, asked before each reservation.
    raises: OSError when the kernel has no memfd, or not that much address space.
    """

    def __init__(self, size: int, available: Callable[[], int] = available_memory) -> None:
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.reserved = 0
        self._available = available
        self.descriptor = os.memfd_create("manta-arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, self.size)
        # A client that shrank the file would kill every reader with SIGBUS.
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        # A second open file, so that readers' mappings cannot be made writable, not even by mprotect.
        self.read_descriptor = os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        self._mapping = mmap.mmap(self.descriptor, self.size)
        self.view = memoryview(self._mapping)
        self.address: int = pa.py_buffer(self._mapping).address

    def reserve(self, end: int) -> None:
        """Have the kernel back [0, end) with pages, so that touching them cannot fail.

        raises: MemoryShort when there is not enough; nothing is reserved then. cost: about 0.2 ms a MiB, blocking.
        """
        if end <= self.reserved:
            return
        target = min(self.size, -(-end // STEP_BYTES) * STEP_BYTES)
        wanted = target - self.reserved
        available = self._available() - MARGIN_BYTES
        if wanted > available:
            raise MemoryShort(
                f"{wanted} more bytes of memory are needed and this machine has {max(available, 0)} to give; end other "
                "programs or start the node with a smaller --object-store-memory"
            )
        try:
            os.posix_fallocate(self.descriptor, self.reserved, wanted)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            raise MemoryShort(f"the kernel refused {wanted} more bytes of shared memory: {error.strerror}") from error
        self.reserved = target

    def buffer(self, offset: int, size: int, base: object) -> pa.Buffer:
        """The bytes as a buffer that keeps `base` alive; no copy."""
        return pa.foreign_buffer(self.address + offset, size, base)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such control group, or "max"
        return None
