"""The cluster's token and TLS files: where they are found and how a candidate is compared."""

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# A token travels in a gRPC header and in the first bytes of a channel, both of bounded size.
MAX_TOKEN_BYTES: Final = 4096
# Paths of the PEM files that a session's services use: {"ca": ..., "cert": ..., "key": ...}.
TLS_FILE_NAME: Final = "tls.json"
TOKEN_FILE_NAME: Final = "token"
_PRINTABLE: Final = bytes(range(0x21, 0x7F))


class CredentialError(Exception):
    """A token or TLS file that is missing or unusable; the text says where it was looked for and what to do."""


class Token:
    """The shared secret of one cluster. It never shows in repr, str or logs."""

    __slots__ = ("value",)

    value: bytes

    def __init__(self, value: bytes) -> None:
        if not value:
            raise CredentialError("the token is empty; write at least one character into it or remove it")
        if len(value) > MAX_TOKEN_BYTES:
            raise CredentialError(f"the token has {len(value)} bytes; at most {MAX_TOKEN_BYTES} are allowed")
        # gRPC refuses other bytes in a header only when a call is made, and without naming the cause.
        if value.strip(_PRINTABLE):
            raise CredentialError("the token holds a byte that is no printable ASCII character; use letters and digits")
        self.value = value

    def matches(self, candidate: bytes) -> bool:
        """Compare in a time that tells nothing about how much of the candidate is right."""
        return hmac.compare_digest(self.value, candidate)

    def __repr__(self) -> str:
        return "Token(***)"

    def __eq__(self, other: object) -> bool:
        return self.matches(other.value) if isinstance(other, Token) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)


def read_token_file(path: str | os.PathLike[str], source: str = "") -> Token:
    """Read a token file, without the white space around it. raises: CredentialError naming path and source."""
    named = f"{os.fspath(path)} ({source})" if source else os.fspath(path)
    try:
        with open(path, "rb") as file:
            # One byte over the bound with room for white space: a device or a wrong file is not read whole.
            content = file.read(2 * MAX_TOKEN_BYTES).strip()
    except OSError as error:
        raise CredentialError(f"token file {named} cannot be read: {error.strerror}") from error
    try:
        return Token(content)
    except CredentialError as error:
        raise CredentialError(f"token file {named}: {error}") from error


def find_token(env: Mapping[str, str], token_file: str = "", session_dir: str = "") -> Token:
    """Look a token up: the explicit file, the variables, then the session's file; the first that is set decides.

    A variable that is set but empty counts as unset. A source that is set but unreadable is an error and never
    falls through to the next, which could be another cluster's token.
    raises: CredentialError naming the source, or every place that was looked at.
    """
    if token_file:
        return read_token_file(token_file, "--token-file")
    for variable, is_path in (
        ("MANTA_TOKEN", False),
        ("MANTA_TOKEN_FILE", True),
        ("RAY_AUTH_TOKEN", False),
        ("RAY_AUTH_TOKEN_PATH", True),
    ):
        value = env.get(variable, "").strip()
        if not value:
            continue
        if is_path:
            return read_token_file(value, variable)
        try:
            return Token(value.encode())
        except CredentialError as error:
            raise CredentialError(f"{variable}: {error}") from error
    places = "MANTA_TOKEN, MANTA_TOKEN_FILE, RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH are not set"
    if session_dir:
        path = Path(session_dir) / TOKEN_FILE_NAME
        if path.exists():
            return read_token_file(path, "session folder")
        places += f" and {path} does not exist"
    raise CredentialError(f"no cluster token: {places}; set MANTA_TOKEN or name a file with --token-file")


def create_token_file(path: str | os.PathLike[str]) -> Token:
    """Make a random token in a new file of mode 0600. raises: FileExistsError when there is one already.

    The name appears only with the whole content, so that whoever loses the race reads the winner's token.
    """
    token = Token(os.urandom(32).hex().encode())
    temporary = f"{os.fspath(path)}.{os.urandom(8).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(token.value + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike rename, link fails when the name is taken
    finally:
        os.unlink(temporary)
    return token


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files for mutual TLS: the cluster's authority, our certificate and our key."""

    ca: str
    cert: str
    key: str

    @classmethod
    def from_paths(cls, ca: str, cert: str, key: str) -> "TlsFiles | None":
        """All three, or None when none is given. raises: CredentialError naming those that are missing."""
        given = {"--tls-ca": ca, "--tls-cert": cert, "--tls-key": key}
        missing = [flag for flag, path in given.items() if not path]
        if len(missing) == len(given):
            return None
        if missing:
            raise CredentialError(f"mutual TLS needs --tls-ca, --tls-cert and --tls-key; missing: {', '.join(missing)}")
        return cls(ca, cert, key)

    def read(self) -> tuple[bytes, bytes, bytes]:
        """The content of ca, cert and key. raises: CredentialError naming the file."""
        contents = []
        for flag, path in (("--tls-ca", self.ca), ("--tls-cert", self.cert), ("--tls-key", self.key)):
            try:
                contents.append(Path(path).read_bytes())
            except OSError as error:
                raise CredentialError(f"{flag} {path} cannot be read: {error.strerror}") from error
        return contents[0], contents[1], contents[2]


def find_tls(env: Mapping[str, str], session_dir: str = "") -> TlsFiles | None:
    """Look our certificate up: the variables, then the session's file; None for a cluster without TLS.

    MANTA_TLS_CA, MANTA_TLS_CERT and MANTA_TLS_KEY name the files; with RAY_USE_TLS=1 so do RAY_TLS_CA_CERT,
    RAY_TLS_SERVER_CERT and RAY_TLS_SERVER_KEY. raises: CredentialError when they are not all set, or the session's
    file cannot be used.
    """
    named = [env.get(f"MANTA_TLS_{name}", "").strip() for name in ("CA", "CERT", "KEY")]
    if not any(named) and env.get("RAY_USE_TLS", "").strip().lower() in ("1", "true"):
        named = [env.get(f"RAY_TLS_{name}", "").strip() for name in ("CA_CERT", "SERVER_CERT", "SERVER_KEY")]
        if not all(named):
            raise CredentialError(
                "RAY_USE_TLS is set: set RAY_TLS_CA_CERT, RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY too"
            )
    if any(named):
        if not all(named):
            raise CredentialError("MANTA_TLS_CA, MANTA_TLS_CERT and MANTA_TLS_KEY belong together; set all three")
        return TlsFiles(*named)
    path = Path(session_dir) / TLS_FILE_NAME
    if not session_dir or not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        return TlsFiles(found["ca"], found["cert"], found["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CredentialError(f"{path} does not name the files of TLS: {error!r}") from error
