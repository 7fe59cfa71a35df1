"""The folders and files of one session on disk."""

import json
import os
import stat
import time
from typing import Any, Final

from .socket_folder import UnsafeFolder, choose

CURRENT_CLUSTER: Final = "current_cluster"
# The files of a session begin with these: the store has a journal and a lock, a file that is being written a suffix.
_OURS: Final = ("token", "tls.json", "gcs.db", CURRENT_CLUSTER)


class SessionError(Exception):
    """A folder that cannot be made or must not be used; the text names it."""


class Session:
    """<temp_dir>/session_<time>_<pid>/ with token and logs/, and this node's folder of sockets; all 0700 or 0600."""

    def __init__(self, temp_dir: str, owner_pid: int, token: str, now: float, socket_dir: str = "") -> None:
        """token: empty makes a new one. socket_dir: see socket_folder.choose. raises: SessionError."""
        make_private_folder(temp_dir)
        moment = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))
        self.name = f"session_{moment}_{int(now % 1 * 1e6):06d}_{owner_pid}"
        self.folder = _make_new(os.path.join(temp_dir, self.name))
        self.logs = _make_new(os.path.join(self.folder, "logs"))
        self.token_file = os.path.join(self.folder, "token")
        write_private(self.token_file, (token or os.urandom(32).hex()) + "\n")
        try:
            self.sockets = choose(socket_dir, self.folder)
        except (OSError, UnsafeFolder) as error:
            raise SessionError(
                f"no sockets can be made in {socket_dir or self.folder}: {error}; "
                "choose another folder by --socket-dir or MANTA_SOCKET_DIR"
            ) from error
        self.node_dir = self.sockets.path

    def keep_tls(self, ca: str, cert: str, key: str) -> None:
        """For drivers and tools of this machine, which look here as they do for the token."""
        write_private(os.path.join(self.folder, "tls.json"), json.dumps({"ca": ca, "cert": cert, "key": key}) + "\n")

    def log_file(self, part: str) -> str:
        return os.path.join(self.logs, f"{part}.log")

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def remove_all_but_logs(self) -> None:
        """What users have put into the folder stays too. raises: OSError naming what cannot be removed."""
        self.sockets.remove()
        for entry in os.scandir(self.folder):
            if entry.name.startswith(_OURS) and not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)


def make_private_folder(path: str) -> None:
    """Make it, 0700, with its parents; one that exists must be ours and closed to others' writing.

    raises: SessionError. Anybody can make a folder in /tmp and lay traps in it before we come.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError as error:
        raise SessionError(f"cannot make the folder {path}: {error.strerror}; choose another by --temp-dir") from error
    if status.st_uid != os.geteuid():
        raise SessionError(
            f"{path} belongs to uid {status.st_uid}; choose another folder by --temp-dir or MANTA_TMPDIR"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
        raise SessionError(f"others can write to {path}; run chmod go-w on it or choose another folder by --temp-dir")


def write_private(path: str, text: str) -> None:
    """A file of mode 0600 that appears with its whole content, over an older one."""
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(temporary, path)


def publish_current_cluster(folder: str, record: dict[str, Any]) -> None:
    write_private(os.path.join(folder, CURRENT_CLUSTER), json.dumps(record) + "\n")


def withdraw_current_cluster(folder: str, session_dir: str) -> None:
    """Remove the record if it still tells of this session."""
    path = os.path.join(folder, CURRENT_CLUSTER)
    try:
        with open(path) as file:
            if json.load(file).get("session_dir") == session_dir:
                os.unlink(path)
    except (FileNotFoundError, ValueError):
        return  # a later cluster's affair


def _make_new(path: str) -> str:
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise SessionError(f"cannot make the folder {path}: {error.strerror}") from error
    return path
