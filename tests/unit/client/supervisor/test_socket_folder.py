import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from manta_common.channel.paths import at_short_path
from ray._node import NodeOptions
from ray._node.local_node import _spec
from ray._supervisor import socket_folder
from ray._supervisor.session import Session, SessionError
from ray._supervisor.socket_folder import IN_SESSION, UnsafeFolder, choose, in_memory, lock_folder, make_below

HOME = f"manta-{os.geteuid()}"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as one in memory, as /dev/shm is: everybody's, and sticky."""
    folder = tmp_path / "shm"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(socket_folder, "in_memory", lambda path: str(path).startswith(str(folder)))
    monkeypatch.setattr(socket_folder, "is_swept", lambda: False)
    return folder


@pytest.fixture
def session(tmp_path: Path) -> str:
    (tmp_path / "session").mkdir()
    return str(tmp_path / "session")


def test_memory_is_chosen_and_the_folder_is_private_short_and_locked(memory: Path, session: str) -> None:
    chosen = choose("", session, str(memory))
    assert chosen.reason == "" and chosen.removed == ()
    path = Path(chosen.path)
    assert path.parent == memory / HOME and len(path.name) == 16
    assert {path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777} == {0o700}
    assert os.listdir(path) == [], "the trial socket is gone"
    assert not os.get_inheritable(chosen.lock)
    assert lock_folder(chosen.path) == -1
    chosen.remove()
    assert os.listdir(memory) == []
    chosen.remove()


def test_the_longest_path_in_memory_needs_no_detour() -> None:
    assert len(f"/dev/shm/manta-{2**32 - 1}/{'0' * 16}/object-manager.sock") < 100


def test_a_path_that_was_asked_for_is_taken_also_where_it_is_not_in_memory(session: str, tmp_path: Path) -> None:
    chosen = choose(str(tmp_path), session)
    assert Path(chosen.path).parent == tmp_path / HOME and chosen.lock >= 0
    chosen.remove()


def test_the_sessions_folder_can_be_asked_for(memory: Path, session: str) -> None:
    chosen = choose(IN_SESSION, session, str(memory))
    assert os.path.dirname(chosen.path) == session and chosen.reason == ""
    assert os.listdir(memory) == []
    chosen.remove()
    assert os.listdir(session) == []


def foreign(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    theirs = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: theirs)
    (memory / f"manta-{theirs}").mkdir(0o700)
    return f"belongs to uid {theirs - 1}"


def symlink(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (memory.parent / "elsewhere").mkdir(0o700)
    (memory / HOME).symlink_to(memory.parent / "elsewhere")
    return "is not a folder"


def dangling(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (memory / HOME).symlink_to(memory.parent / "nowhere")
    return "is not a folder"


def file(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (memory / HOME).write_text("")
    return "is not a folder"


def open_to_others(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (memory / HOME).mkdir()
    (memory / HOME).chmod(0o770)
    return "others can write"


def not_sticky(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    memory.chmod(0o777)
    return "others can rename"


def missing(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    memory.rmdir()
    monkeypatch.setattr(socket_folder, "in_memory", in_memory)
    return "No such file"


def on_disk(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(socket_folder, "in_memory", lambda path: False)
    return "is not in memory"


def session_in_memory(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(socket_folder, "in_memory", lambda path: True)
    return "in memory itself"


def swept(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(socket_folder, "is_swept", lambda: True)
    return "a login manager may remove"


def full(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def mkdir(path: str, mode: int = 0o777, *, real: Callable[..., None] = os.mkdir) -> None:
        if str(path).startswith(str(memory)):
            raise OSError(28, "No space left on device", path)
        real(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    return "No space left on device"


def no_sockets(memory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def refuse(folder: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket_folder, "_bind_in", refuse)
    return "Permission denied"


REASONS = [
    *(foreign, symlink, dangling, file, open_to_others, not_sticky),
    *(missing, on_disk, session_in_memory, swept, full, no_sockets),
]


@pytest.mark.parametrize("prepare", REASONS)
def test_where_memory_cannot_be_used_the_session_has_the_sockets_and_the_reason_is_told(
    memory: Path, session: str, monkeypatch: pytest.MonkeyPatch, prepare: Callable[..., str]
) -> None:
    reason = prepare(memory, monkeypatch)
    chosen = choose("", session, str(memory))
    assert reason in chosen.reason
    assert os.path.dirname(chosen.path) == session and os.stat(chosen.path).st_mode & 0o777 == 0o700
    assert [name for _, folders, _ in os.walk(memory) for name in folders if len(name) == 16] == []
    assert not os.path.isdir(memory.parent / "elsewhere") or os.listdir(memory.parent / "elsewhere") == []


def test_a_folder_that_was_asked_for_and_cannot_be_used_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    wanted = str(tmp_path / "none")
    with pytest.raises(SessionError, match=f"{wanted}.*MANTA_SOCKET_DIR"):
        Session(str(tmp_path / "temp"), os.getpid(), "", 0.0, wanted)


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [
        ("", "", ""),
        ("", "session", "session"),
        ("", "below", os.path.abspath("below")),
        ("/run/manta", "session", "/run/manta"),
        ("session", "/run/manta", "session"),
        ("~", "", os.path.expanduser("~")),
    ],
)
def test_the_option_beats_the_variable_and_a_path_becomes_absolute(
    option: str, variable: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANTA_SOCKET_DIR", variable)
    assert _spec(NodeOptions(socket_dir=option))["socket_dir"] == expected


def test_folders_without_an_owner_are_removed_and_those_of_the_living_stay(memory: Path) -> None:
    living = make_below(str(memory))
    code = "import os, signal, sys; from ray._supervisor.socket_folder import make_below\n"
    code += "print(make_below(sys.argv[1]).path, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    killed = [
        subprocess.run([sys.executable, "-c", code, str(memory)], capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    ]
    assert not os.path.exists(killed[0]), "the second has removed it"
    with socket.socket(socket.AF_UNIX) as left:
        at_short_path(left.bind, f"{killed[1]}/raylet.sock")
    (memory / HOME / "stray").write_text("not ours to judge")
    made = make_below(str(memory))
    assert made.removed == (killed[1],)
    assert sorted(os.listdir(memory / HOME)) == sorted([Path(living.path).name, Path(made.path).name, "stray"])
    for folder in (living, made):
        folder.remove()
        os.close(folder.lock)
    assert os.listdir(memory / HOME) == ["stray"], "nobody removes a folder that is not empty"


def test_who_makes_a_folder_that_another_start_removes_before_it_is_locked_makes_another(memory: Path) -> None:
    seen: list[str] = []

    def removed_by_another(path: str) -> None:
        seen.append(path)
        if len(seen) == 1:
            other = make_below(str(memory))
            assert other.removed == (path,)
            other.remove()
            os.close(other.lock)

    made = make_below(str(memory), on_made=removed_by_another)
    assert made.path == seen[1] and lock_folder(made.path) == -1


def test_who_finds_his_new_folder_locked_by_another_start_leaves_it_to_that(memory: Path) -> None:
    locks: list[int] = []

    def lock_first(path: str) -> None:
        if not locks:
            locks.append(lock_folder(path))

    made = make_below(str(memory), on_made=lock_first)
    assert len(os.listdir(memory / HOME)) == 2 and made.removed == ()
    os.close(locks[0])


def test_folders_that_never_stay_are_an_error_not_an_endless_loop(memory: Path) -> None:
    with pytest.raises(UnsafeFolder, match="were removed by others"):
        make_below(str(memory), on_made=os.rmdir)


def test_a_type_of_file_system_is_told_by_the_device() -> None:
    assert not in_memory("/proc")
    kinds = [line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines() if " /dev/shm " in line]
    if kinds:
        assert in_memory("/dev/shm") == (kinds[-1] == "tmpfs")


@pytest.mark.parametrize(
    ("uid", "initial", "systemd", "expected"),
    [
        (0, {"user", "ipc"}, True, False),  # root, and below system users, of a machine with systemd-logind
        (999, {"user", "ipc"}, True, False),
        (1000, {"user", "ipc"}, True, True),  # somebody who logs in and out
        (1000, {"user"}, False, False),  # in a container
        (1000, {"user", "ipc"}, False, True),  # in one with --ipc=host, whose machine we cannot see
        (0, {"ipc"}, False, True),  # the same, rootless: root is somebody on the machine
        (0, set(), False, False),
        (1000, {"user"}, True, True),  # a container with a systemd of its own
    ],
)
def test_files_in_memory_are_swept_for_users_who_can_log_out(
    uid: int, initial: set[str], systemd: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os.path, "isdir", lambda path: systemd)
    monkeypatch.setattr(socket_folder, "_is_initial", lambda namespace: namespace in initial)
    assert socket_folder.is_swept() is expected
