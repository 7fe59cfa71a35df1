"""Paths of Unix-domain sockets, which the kernel takes only up to 107 bytes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# The kernel allows 107; tools that add a suffix or a terminator of their own get some room.
MAX_SOCKET_PATH_BYTES: Final = 100


@contextmanager
def short_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """A name for the same socket that bind and connect take, valid within the context.

    A path over 100 bytes is reached through /proc/self/fd/<its folder>. raises: OSError when the folder cannot be
    opened, ValueError when the last part alone is too long.
    """
    text = os.fspath(path)
    if len(os.fsencode(text)) <= MAX_SOCKET_PATH_BYTES:
        yield text
        return
    folder, name = os.path.split(text)
    descriptor = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{descriptor}/{name}"
        if len(os.fsencode(short)) > MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"socket name {name!r} is too long; at most about 80 bytes may follow the last slash")
        yield short
    finally:
        os.close(descriptor)


def at_short_path(call: Callable[[str], object], path: str) -> None:
    """call(path), e.g. a socket's bind or connect, by way of short_path only if need be. raises: as that, and call."""
    if path.isascii() and len(path) <= MAX_SOCKET_PATH_BYTES:
        call(path)
        return
    with short_path(path) as usable:
        call(usable)
