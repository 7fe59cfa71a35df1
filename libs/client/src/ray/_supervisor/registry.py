"""The list of this user's running supervisors: one small file each, named by the pid."""

import json
import os
from typing import Any, NamedTuple

from .session import make_private_folder, write_private

FOLDER = "supervisors"


class Entry(NamedTuple):
    """A supervisor that is alive. The pidfd is the caller's to close."""

    pid: int
    pidfd: int
    session_dir: str
    daemon: bool  # of `ray start`, not of a driver
    head: bool


def register(registry_dir: str, session_dir: str, *, daemon: bool, head: bool) -> str:
    """returns: the path of our own entry."""
    folder = os.path.join(registry_dir, FOLDER)
    make_private_folder(folder)
    path = os.path.join(folder, f"{os.getpid()}.json")
    record = {"start_time": start_time(os.getpid()), "session_dir": session_dir, "daemon": daemon, "head": head}
    write_private(path, json.dumps(record))
    return path


def running(registry_dir: str) -> list[Entry]:
    """Those that are alive; the entries of others are removed."""
    folder = os.path.join(registry_dir, FOLDER)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    found: list[Entry] = []
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix == ".json" and stem.isdigit():
            path = os.path.join(folder, name)
            entry = _read(int(stem), path)
            if entry is not None:
                found.append(entry)
            else:
                _forget(path)
    return found


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of the process: with the pid, it names a process for good."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def _read(pid: int, path: str) -> Entry | None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        with open(path) as file:
            record: dict[str, Any] = json.load(file)
        # After the pidfd was opened: from here on the pid cannot become another's unnoticed.
        if record["start_time"] == start_time(pid):
            return Entry(pid, pidfd, record["session_dir"], record["daemon"], record["head"])
    except (FileNotFoundError, ProcessLookupError, ValueError, KeyError):
        os.close(pidfd)
        return None
    os.close(pidfd)
    return None


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # its owner was faster
