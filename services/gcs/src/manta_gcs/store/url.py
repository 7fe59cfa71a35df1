"""Store URLs: parsed into values, with secrets that never show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import parse_qsl, unquote

from manta_gcs.store.errors import StoreConfigError

ETCD_PORT: Final = 2379
REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
DEFAULT_TIMEOUT_S: Final = 5.0


class Synchronous(Enum):
    OFF = "off"  # survives the death of the process
    FULL = "full"  # survives the loss of power too


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; ca None: the system's; cert and key go together."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class EtcdUrl:
    endpoints: tuple[str, ...]  # host:port or [v6]:port
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsFiles | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S  # of one call, over all endpoints tried

    @property
    def shown(self) -> str:
        """For messages and logs: without the password."""
        return f"etcd{'s' if self.tls else ''}://{self.user + '@' if self.user else ''}{','.join(self.endpoints)}"


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    path: str | None  # absolute; None: in memory
    synchronous: Synchronous = Synchronous.FULL

    @property
    def shown(self) -> str:
        return f"sqlite://{self.path}" if self.path else "sqlite:memory"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """One server, or with `primary` the Sentinels that know where the primary of that name is."""

    endpoints: tuple[str, ...]  # host:port or [v6]:port
    primary: str | None = None
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: TlsFiles | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S  # of one call, with its repetitions
    wait_replicas: int = 0  # that must hold a change before it counts as done

    @property
    def shown(self) -> str:
        """For messages and logs: without the passwords."""
        scheme = f"redis{'s' if self.tls else ''}{'+sentinel' if self.primary else ''}"
        path = "/".join(part for part in (self.primary or "", str(self.database or "")) if part)
        login = f"{self.user}@" if self.user else ""
        return f"{scheme}://{login}{','.join(self.endpoints)}{'/' + path if path else ''}"


def redact(url: str) -> str:
    """The URL without its user and password, for messages about a URL that could not be parsed."""
    scheme, separator, rest = url.partition("://")
    authority, slash, tail = rest.partition("/") if "/" in rest else (rest, "", "")
    return f"{scheme}{separator}{'***@' + authority.rpartition('@')[2] if '@' in authority else authority}{slash}{tail}"


def scheme_of(url: str) -> str:
    """What stands before the first colon, in lower case."""
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme:
        raise StoreConfigError(repr(redact(url)), "is no URL", "give etcd://host:2379 or sqlite:///absolute/path")
    return scheme.lower()


def parse_sqlite(url: str) -> SqliteUrl:
    """sqlite:memory, or sqlite:///absolute/path?synchronous=off|full; raises StoreConfigError."""
    rest = url.partition(":")[2]
    if rest == "memory":
        return SqliteUrl(None, Synchronous.OFF)
    body, _, query = rest.partition("?")
    if not body.startswith("///") or len(body) < 4:
        raise StoreConfigError(
            repr(url), "needs an absolute path", "write sqlite:///absolute/path, with three slashes, or sqlite:memory"
        )
    given = _parameters(url, query, {"synchronous"})
    synchronous = Synchronous.FULL
    if "synchronous" in given:
        try:
            synchronous = Synchronous(given["synchronous"].lower())
        except ValueError:
            raise StoreConfigError(
                repr(url), f"synchronous={given['synchronous']!r} is unknown", "use off or full"
            ) from None
    return SqliteUrl(unquote(body[2:]), synchronous)


def parse_etcd(url: str) -> EtcdUrl:
    """etcd[s]://[user:password@]host[:port][,host...][?ca=&cert=&key=&timeout_s=]; raises StoreConfigError."""
    shown = repr(redact(url))
    scheme, _, rest = url.partition("://")
    body, _, query = rest.partition("?")
    authority, _, path = body.partition("/")
    if path:
        raise StoreConfigError(shown, f"has a path, /{path}", "etcd URLs have none; write etcd://host:2379?parameters")
    login, at, hosts = authority.rpartition("@")
    user = password = None
    if at:
        name, _, secret = login.partition(":")
        user, password = unquote(name), unquote(secret)
        if not user or not password:
            raise StoreConfigError(shown, "lacks a user or a password before '@'", "write etcd://user:password@host")
    endpoints = tuple(_endpoint(shown, host.strip(), ETCD_PORT) for host in hosts.split(","))
    given = _parameters(shown, query, {"ca", "cert", "key", "timeout_s"})
    tls: TlsFiles | None = None
    if scheme.lower() == "etcds" or given.keys() & {"ca", "cert", "key"}:
        tls = TlsFiles(given.get("ca"), given.get("cert"), given.get("key"))
        if (tls.cert is None) != (tls.key is None):
            raise StoreConfigError(shown, "has only one of cert and key", "give both for a client certificate")
    timeout_s = _number(shown, "timeout_s", given["timeout_s"]) if "timeout_s" in given else DEFAULT_TIMEOUT_S
    return EtcdUrl(endpoints, user, password, tls, timeout_s)


def parse_redis(url: str) -> RedisUrl:
    """redis[s]://[[user]:password@]host[:port][/database][?parameters], or through Sentinel
    redis[s]+sentinel://[[user]:password@]host[:port][,host...]/primary[/database][?parameters].

    Parameters: ca, cert, key (PEM files), timeout_s, wait_replicas (0; through Sentinel 1), sentinel_user and
    sentinel_password. raises: StoreConfigError.
    """
    shown = repr(redact(url))
    scheme, _, rest = url.partition("://")
    through_sentinel = scheme.lower().endswith("+sentinel")
    body, _, query = rest.partition("?")
    authority, _, path = body.partition("/")
    login, at, hosts = authority.rpartition("@")
    name, _, secret = login.partition(":")
    if at and not secret:
        raise StoreConfigError(shown, "lacks a password before '@'", "write redis://user:password@host")
    port = SENTINEL_PORT if through_sentinel else REDIS_PORT
    endpoints = tuple(_endpoint(shown, host.strip(), port) for host in hosts.split(","))
    primary, _, database = path.partition("/") if through_sentinel else ("", "", path)
    if through_sentinel and not primary:
        raise StoreConfigError(shown, "names no primary", "write redis+sentinel://host:26379/name-of-the-primary")
    if not through_sentinel and len(endpoints) > 1:
        raise StoreConfigError(shown, "names several servers", "give one, or Sentinels by redis+sentinel://")
    if database and not (database.isascii() and database.isdigit()):
        raise StoreConfigError(shown, f"has the malformed database {database!r}", "give its number, as in /0")
    files = {"ca", "cert", "key"}
    of_sentinel = {"sentinel_user", "sentinel_password"} if through_sentinel else set()
    given = _parameters(shown, query, {*files, *of_sentinel, "timeout_s", "wait_replicas"})
    tls: TlsFiles | None = None
    if scheme.lower().startswith("rediss") or given.keys() & files:
        tls = TlsFiles(given.get("ca"), given.get("cert"), given.get("key"))
        if (tls.cert is None) != (tls.key is None):
            raise StoreConfigError(shown, "has only one of cert and key", "give both for a client certificate")
    wait = given.get("wait_replicas", "1" if through_sentinel else "0")
    if not (wait.isascii() and wait.isdigit() and int(wait) <= 16):
        raise StoreConfigError(shown, f"wait_replicas={wait!r} is no number of replicas", "use one from 0 to 16")
    return RedisUrl(
        endpoints,
        primary=unquote(primary) or None,
        database=int(database or 0),
        user=unquote(name) or None,
        password=unquote(secret) or None,
        sentinel_user=given.get("sentinel_user"),
        sentinel_password=given.get("sentinel_password"),
        tls=tls,
        timeout_s=_number(shown, "timeout_s", given["timeout_s"]) if "timeout_s" in given else DEFAULT_TIMEOUT_S,
        wait_replicas=int(wait),
    )


def _parameters(shown: str, query: str, known: set[str]) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise StoreConfigError(
                shown, f"has the unknown parameter {name!r}", f"known are {', '.join(sorted(known))}"
            )
        if not value or name in given:
            raise StoreConfigError(shown, f"has {name!r} empty or twice", "give it once, with a value")
        given[name] = value
    return given


def _number(shown: str, name: str, text: str, accept: Callable[[float], bool] = lambda n: 0 < n <= 3600) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not accept(number):
        raise StoreConfigError(shown, f"{name}={text!r} is no number of seconds", "use one above 0 and up to 3600")
    return number


def _endpoint(shown: str, text: str, default_port: int) -> str:
    """host, host:port, [v6] or [v6]:port, made whole with the default port."""
    remedy = "write host:port, or [address]:port for IPv6"
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or ":" not in host or (tail and not tail.startswith(":")):
            raise StoreConfigError(shown, f"has the malformed endpoint {text!r}", remedy)
        host, port = f"[{host}]", tail[1:]
    else:
        host, _, port = text.partition(":")
        if not host or ":" in port:
            raise StoreConfigError(shown, f"has the malformed endpoint {text!r}", remedy)
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise StoreConfigError(shown, f"has the malformed port {port!r}", remedy)
    return f"{host}:{port or default_port}"
