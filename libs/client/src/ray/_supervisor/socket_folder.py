"""The folder of a node's Unix-domain sockets: in memory where nobody sweeps that, else in the session's folder.

Why and where: ADR 0021. A folder in memory outlives a supervisor that is killed, so each is locked (flock) by its
supervisor for life, and who makes one removes those that are not. Pids would not do: containers that share /dev/shm do
not share those.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Callable
from typing import Final, NamedTuple

MEMORY: Final = "/dev/shm"
IN_SESSION: Final = "session"  # as the wanted parent: the session's folder
_ATTEMPTS: Final = 20
_SYSTEM_UID_MAX: Final = 999
# The kernel's fixed inode numbers of the namespaces that the machine was booted with.
_INITIAL: Final = {"ipc": 0xEFFFFFFF, "user": 0xEFFFFFFD}


class UnsafeFolder(Exception):
    """A folder in which others could lay traps, or that does not stay; the text names it."""


class SocketFolder(NamedTuple):
    """A new folder of mode 0700. `lock` is -1 in the session's folder, whose files stay to be looked at anyway."""

    path: str
    lock: int = -1
    reason: str = ""  # why it is in the session's folder though nobody asked for that
    removed: tuple[str, ...] = ()  # folders of supervisors that were killed

    def remove(self) -> None:
        """With all sockets, and the user's folder when this was the last in it; may be called again."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.lock >= 0:
            # Of somebody else's folder in there, or somebody faster, the kernel says no.
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(self.path))


def choose(wanted: str, session_folder: str, memory: str = MEMORY) -> SocketFolder:
    """Make a folder below `wanted`, or where it is best when that is empty.

    raises: UnsafeFolder, OSError when not even the session's folder, or not what was wanted, can hold one.
    """
    if wanted and wanted != IN_SESSION:
        return make_below(wanted)
    reason = ""
    if not wanted:
        try:
            if in_memory(session_folder):
                reason = "the session's folder is in memory itself"
            elif not in_memory(memory):
                reason = f"{memory} is not in memory"
            elif is_swept():
                reason = f"a login manager may remove what uid {os.geteuid()} has in {memory}"
            else:
                return make_below(memory)
        except (OSError, UnsafeFolder) as error:
            reason = str(error)
    path = os.path.join(session_folder, os.urandom(4).hex())
    os.mkdir(path, 0o700)
    return SocketFolder(path, reason=reason)


def make_below(parent: str, on_made: Callable[[str], object] = lambda path: None) -> SocketFolder:
    """<parent>/manta-<uid>/<16 hex digits>, locked; and remove those in manta-<uid> that are not locked.

    on_made: told of each folder before it is locked. raises: UnsafeFolder, OSError. cost: some 0.2 ms.
    """
    status = os.stat(parent)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
        raise UnsafeFolder(f"others can rename what is in {parent}; run chmod +t on it")
    home = os.path.join(parent, f"manta-{os.geteuid()}")
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(FileExistsError):
            os.mkdir(home, 0o700)
        path = os.path.join(home, os.urandom(8).hex())
        try:
            _check(home)
            os.mkdir(path, 0o700)
        except FileNotFoundError:
            continue  # the last node of this user has just removed the empty `home`
        on_made(path)
        lock = lock_folder(path)
        if lock >= 0:
            try:
                _bind_in(lock)
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)
                raise
            return SocketFolder(path, lock, removed=_remove_leftovers(home, path))
    raise UnsafeFolder(f"{_ATTEMPTS} new folders in {home} were removed by others at once")


def lock_folder(path: str) -> int:
    """returns: a descriptor that holds the lock until it is closed; -1 when another has it, or the folder is gone."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only who has the lock removes the folder, and no name comes twice: from here on it stays.
        if os.path.isdir(path):
            return lock
    except BlockingIOError:
        os.close(lock)
        return -1
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return -1


def in_memory(path: str) -> bool:
    """Whether it lies on a tmpfs. raises: OSError when there is no such path. cost: a look at the list of mounts."""
    device = os.stat(path).st_dev
    number = b"%d:%d" % (os.major(device), os.minor(device))
    with open("/proc/self/mountinfo", "rb") as mounts:
        for mount in mounts:
            # proc_pid_mountinfo(5): id, parent, device, ..., a lone dash, type, ...; a device has one type.
            place, _, kind = mount.partition(b" - ")
            if place.split(b" ", 3)[2] == number:
                return kind.split(b" ", 1)[0] == b"tmpfs"
    return False


def is_swept() -> bool:
    """Whether a login manager may empty /dev/shm of this user's files while we run.

    systemd-logind does so when the last session of a user who is no system user ends (RemoveIPC=yes, its default),
    locked or not; that of the machine, also when we are in a container that shares its IPC namespace.
    """
    is_regular = os.geteuid() > _SYSTEM_UID_MAX or not _is_initial("user")
    return is_regular and (os.path.isdir("/run/systemd/system") or _is_initial("ipc"))


def _is_initial(namespace: str) -> bool:
    try:
        return os.stat(f"/proc/self/ns/{namespace}").st_ino == _INITIAL[namespace]
    except FileNotFoundError:
        return True  # a kernel without such namespaces


def _check(home: str) -> None:
    # It cannot be exchanged after this: its parent lets nobody else rename what is ours.
    status = os.lstat(home)
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFolder(f"{home} is not a folder; remove it")
    if status.st_uid != os.geteuid():
        raise UnsafeFolder(f"{home} belongs to uid {status.st_uid}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeFolder(f"others can write to {home}; run chmod go-w on it")


def _bind_in(folder: int) -> None:
    """See whether the file system and the policies of the machine let us. raises: OSError."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.bind(f"/proc/self/fd/{folder}/trial")
    os.unlink("trial", dir_fd=folder)


def _remove_leftovers(home: str, own: str) -> tuple[str, ...]:
    removed: list[str] = []
    for path in (entry.path for entry in os.scandir(home) if entry.is_dir(follow_symlinks=False)):
        try:
            lock = lock_folder(path) if path != own else -1
        except OSError:
            continue  # not as we make them
        if lock >= 0:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
            removed.append(path)
    return tuple(removed)
