import os
import stat
from pathlib import Path

import pytest
from manta_common.credentials import (
    CredentialError,
    TlsFiles,
    Token,
    create_token_file,
    find_tls,
    find_token,
    read_token_file,
)

SOURCES = ["explicit", "MANTA_TOKEN", "MANTA_TOKEN_FILE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "session"]


def place(tmp_path: Path, sources: list[str]) -> tuple[dict[str, str], str, str]:
    env: dict[str, str] = {}
    explicit = session = ""
    for source in sources:
        value = f"token-of-{source}"
        if source == "session":
            session = str(tmp_path)
            (tmp_path / "token").write_text(value)
        elif source in ("MANTA_TOKEN", "RAY_AUTH_TOKEN"):
            env[source] = value
        else:
            path = tmp_path / f"{source}.file"
            path.write_text(value + "\n")
            if source == "explicit":
                explicit = str(path)
            else:
                env[source] = str(path)
    return env, explicit, session


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_the_first_source_in_the_order_decides(tmp_path: Path, first: int) -> None:
    env, explicit, session = place(tmp_path, SOURCES[first:])
    assert find_token(env, explicit, session).value == f"token-of-{SOURCES[first]}".encode()


def test_an_empty_variable_counts_as_unset() -> None:
    assert find_token({"MANTA_TOKEN": " ", "RAY_AUTH_TOKEN": "abc"}).value == b"abc"


def test_a_named_file_that_is_missing_does_not_fall_through(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match=r"/nowhere.*MANTA_TOKEN_FILE"):
        find_token({"MANTA_TOKEN_FILE": "/nowhere", "RAY_AUTH_TOKEN": "abc"})


def test_with_no_token_anywhere_the_error_names_the_places(tmp_path: Path) -> None:
    with pytest.raises(CredentialError) as failure:
        find_token({}, session_dir=str(tmp_path))
    assert "MANTA_TOKEN" in str(failure.value)
    assert str(tmp_path / "token") in str(failure.value)


def test_a_created_file_is_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "token"
    old = os.umask(0)
    try:
        token = create_token_file(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token_file(path) == token
    assert len(token.value) >= 32
    assert os.listdir(tmp_path) == ["token"]


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = create_token_file(path)
    with pytest.raises(FileExistsError):
        create_token_file(path)
    assert read_token_file(path) == token
    assert os.listdir(tmp_path) == ["token"]


def test_a_token_matches_itself_only_and_shows_nowhere() -> None:
    token = Token(b"very-secret")
    assert token.matches(b"very-secret")
    assert not token.matches(b"very-secre")
    assert not token.matches("ü".encode())
    assert "secret" not in f"{token!r} {token} {[token]}"
    assert token == Token(b"very-secret")
    assert token != Token(b"other")


@pytest.mark.parametrize("value", [b"", b"a b", b"a\nb", "ü".encode(), b"x" * 4097])
def test_an_unusable_token_is_refused_without_being_shown(value: bytes) -> None:
    with pytest.raises(CredentialError):
        Token(value)


def test_tls_files_are_looked_up_in_the_environment_then_in_the_session(tmp_path: Path) -> None:
    assert find_tls({}) is None
    assert find_tls({}, str(tmp_path)) is None
    (tmp_path / "tls.json").write_text('{"ca": "c", "cert": "d", "key": "e"}')
    assert find_tls({}, str(tmp_path)) == TlsFiles("c", "d", "e")
    aliases = {"RAY_USE_TLS": "1", "RAY_TLS_CA_CERT": "1", "RAY_TLS_SERVER_CERT": "2", "RAY_TLS_SERVER_KEY": "3"}
    assert find_tls(aliases, str(tmp_path)) == TlsFiles("1", "2", "3")
    assert find_tls({**aliases, "RAY_USE_TLS": "0"}) is None
    ours = {"MANTA_TLS_CA": "x", "MANTA_TLS_CERT": "y", "MANTA_TLS_KEY": "z"}
    assert find_tls({**ours, **aliases}, str(tmp_path)) == TlsFiles("x", "y", "z")
    with pytest.raises(CredentialError, match="MANTA_TLS_CERT and MANTA_TLS_KEY belong together"):
        find_tls({"MANTA_TLS_CA": "x"}, str(tmp_path))
    with pytest.raises(CredentialError, match="RAY_TLS_SERVER_KEY too"):
        find_tls({"RAY_USE_TLS": "1"})
    (tmp_path / "tls.json").write_text("{}")
    with pytest.raises(CredentialError, match=r"tls\.json does not name"):
        find_tls({}, str(tmp_path))


def test_tls_needs_all_three_files_or_none(tmp_path: Path) -> None:
    assert TlsFiles.from_paths("", "", "") is None
    with pytest.raises(CredentialError, match="missing: --tls-cert, --tls-key"):
        TlsFiles.from_paths("ca.pem", "", "")
    files = TlsFiles.from_paths(str(tmp_path / "ca"), str(tmp_path / "cert"), str(tmp_path / "key"))
    assert files is not None
    with pytest.raises(CredentialError, match=r"--tls-ca .*ca cannot be read"):
        files.read()
