"""Where an array's bytes lie, as the kernel tells."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Place:
    """A position in a file of shared memory: the same in every process that maps it."""

    device: str
    inode: int
    offset: int
    writable: bool


def place_of(array: "np.ndarray") -> Place | None:  # type: ignore[type-arg]
    """The shared file and offset that back the array's first byte; None when it lies in private memory."""
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, permissions, offset, device, inode, *_ = line.split()
            start, end = (int(bound, 16) for bound in span.split("-"))
            if start <= address < end:
                if "s" not in permissions:
                    return None
                return Place(device, int(inode), int(offset, 16) + address - start, "w" in permissions)
    raise AssertionError(f"no mapping holds {address:#x}")
