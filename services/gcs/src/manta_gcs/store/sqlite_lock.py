"""The lock that lets one process at a time serve from a SQLite file."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from manta_common import logs

from manta_gcs.store.errors import StoreConfigError, StoreHeldError

log = logs.get("manta_gcs.store")


class FileLock:
    """An exclusive flock on `<file>.lock`, which also says who holds it. The kernel frees it when the holder dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: str, address: str) -> FileLock:
        """Take the lock or raise StoreHeldError naming the holder's pid and address.

        The lock file stays when the lock is released: unlinking it would let two processes lock two files.
        """
        lock_path = Path(f"{path}.lock")
        try:
            descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreConfigError(
                f"sqlite://{path}", f"cannot make {lock_path}: {error}", "check that the folder exists and is writable"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, holder = _read_holder(descriptor)
            os.close(descriptor)
            raise StoreHeldError(path, pid, holder) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "address": address}).encode(), 0)
        except OSError as error:
            # The lock is held all the same; only who asks for it is not told by whom.
            log.warning("lock_holder_not_written", path=str(lock_path), reason=str(error))
        return cls(descriptor)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read_holder(descriptor: int) -> tuple[int | None, str]:
    """What the holder wrote; nothing when it took the lock a moment ago and has not written yet."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return int(holder["pid"]), str(holder["address"])
    except (ValueError, KeyError, TypeError):
        return None, ""
