"""Log files of a session: which there are, and their lines. Of nodes of this machine only, so far."""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from ray.util.state.common import DEFAULT_RPC_TIMEOUT, GetApiOptions, StateResource
from ray.util.state.exception import RayStateApiException

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_FOLLOW_INTERVAL_S: Final = 0.5
# The first pattern that fits names the category.
_CATEGORIES: Final = (
    ("gcs_server", "gcs*"),
    ("raylet", "raylet*"),
    ("object_manager", "object-manager*"),
    ("supervisor", "supervisor*"),
    ("zygote", "zygote*"),
    ("worker_out", "worker-*.out"),
    ("worker_err", "worker-*.err"),
    ("others", "*"),
)


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
) -> dict[str, list[str]]:
    """Names of a node's log files by what wrote them. Without a node: of the head.

    raises: RayStateApiException for an unknown node, or one whose files are not on this machine.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(_folder(address, node_id, node_ip, timeout))):
        if glob_filter is None or fnmatch.fnmatch(name, glob_filter):
            category = next(kind for kind, pattern in _CATEGORIES if fnmatch.fnmatch(name, pattern))
            found.setdefault(category, []).append(name)
    return found


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> Iterator[Any]:
    """The lines of one log: of a file, or of the worker of an actor, a task or a pid; bytes when encoding is None.

    tail: only the last lines; -1: all. follow: go on with what is written, for ever. suffix: "out" or "err".
    A worker has a log from its first line on: of an actor or a task that wrote none there are no lines.
    raises: RayStateApiException when there is no such log; ValueError for arguments that name none.
    """
    if suffix not in ("out", "err"):
        raise ValueError(f"suffix {suffix!r} is neither 'out' nor 'err'")
    if submission_id is not None:
        raise RayStateApiException("submitted jobs are not supported yet, so there are no logs by submission_id")
    node_id, pattern = _wanted(address, node_id, filename, actor_id, task_id, pid, suffix, attempt_number, timeout)
    folder = _folder(address, node_id, node_ip, timeout)
    names = _fitting(folder, pattern)
    # A worker has a file from its first line on.
    may_come = actor_id is not None or task_id is not None
    while may_come and not names:
        if not follow:
            return
        time.sleep(_interval or _FOLLOW_INTERVAL_S)
        names = _fitting(folder, pattern)
    if len(names) != 1:
        which = f"several logs fit {pattern!r}: {', '.join(names)}" if names else f"no log fits {pattern!r}"
        raise RayStateApiException(f"{which} in {folder}; list_logs() or `ray logs` shows the names")
    for line in _lines(os.path.join(folder, names[0]), tail, follow, _interval or _FOLLOW_INTERVAL_S):
        if encoding is None:
            yield line
            continue
        text = line.decode(encoding, errors or "strict")
        yield _ANSI.sub("", text) if filter_ansi_code else text


def _wanted(
    address: str | None,
    node_id: str | None,
    filename: str | None,
    actor_id: str | None,
    task_id: str | None,
    pid: int | None,
    suffix: str,
    attempt: int,
    timeout: int,
) -> tuple[str | None, str]:
    """The node and a pattern of the file's name."""
    from ray.util.state.api import StateApiClient

    options = GetApiOptions(timeout=timeout)
    if filename is not None:
        return node_id, filename
    if actor_id is not None:
        actor = StateApiClient(address).get(StateResource.ACTORS, actor_id, options)
        if actor is None or not actor.pid:
            raise RayStateApiException(f"actor {actor_id} is unknown, or never had a process")
        return actor.node_id, f"worker-*-{actor.pid}.{suffix}"
    if task_id is not None:
        found = StateApiClient(address).get(StateResource.TASKS, task_id, options)
        attempts = found if isinstance(found, list) else [found] if found is not None else []
        task = next((one for one in attempts if one.attempt_number == attempt), None)
        if task is None or not task.worker_id:
            raise RayStateApiException(f"attempt {attempt} of task {task_id} is unknown, or no worker had it")
        return task.node_id, f"worker-{task.worker_id}-*.{suffix}"
    if pid is not None:
        return node_id, f"worker-*-{pid}.{suffix}"
    raise ValueError("name a log: give filename, actor_id, task_id or pid")


def _folder(address: str | None, node_id: str | None, node_ip: str | None, timeout: int) -> str:
    from ray.util.state.api import StateApiClient

    infos = StateApiClient(address).node_infos(timeout)
    if node_id is not None:
        chosen = [info for info in infos if info.node_id.hex() == node_id]
    elif node_ip is not None:
        chosen = [info for info in infos if info.ip_address == node_ip]
    else:
        chosen = sorted(infos, key=lambda info: not info.is_head)
    if not chosen:
        raise RayStateApiException(f"no node {node_id or node_ip} is known; list_nodes() shows the nodes")
    folder = os.path.join(chosen[0].session_dir, "logs")
    if not os.path.isdir(folder):
        raise RayStateApiException(
            f"the logs of node {chosen[0].node_id.hex()} are in {folder} of its own machine, {chosen[0].ip_address}; "
            "reading them from here is not supported yet"
        )
    return folder


def _fitting(folder: str, pattern: str) -> list[str]:
    return fnmatch.filter(sorted(os.listdir(folder)), pattern)


def _lines(path: str, tail: int, follow: bool, interval_s: float) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from file if tail < 0 else deque(file, maxlen=tail)
        while follow:
            line = file.readline()
            if line:
                yield line
            else:
                # Files tell nobody that they have grown.
                time.sleep(interval_s)
