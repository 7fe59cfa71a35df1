"""Calls of the one script on Redis: connections, deadlines, and what a failure says about the call."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import redis.asyncio as client
from manta_common import logs
from redis import exceptions as errors
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import OutcomeUnknown, StoreConfigError, StoreError, StoreUnavailable
from manta_gcs.store.url import RedisUrl

SCRIPT: Final = files("manta_gcs.store").joinpath("redis_script.lua").read_bytes()
SHA: Final = hashlib.sha1(SCRIPT).hexdigest()
PREFIX: Final = "manta:"
NAMES: Final = ("revision", "records", "order", "leases", "leased", "changes", "floor", "bytes")
KEYS: Final = tuple(f"{PREFIX}{name}" for name in NAMES)
CHANGES_KEY: Final = KEYS[NAMES.index("changes")]
CONNECTIONS: Final = 16  # calls under way at a time; Redis runs them one after the other anyway
OLDEST: Final = (7, 0)
# Kept for watches that fall behind; what is older they list anew.
LIMIT_ENTRIES: Final = 20_000
LIMIT_BYTES: Final = 32 * 1024 * 1024
# Refusals that say that the script was not run: the server checks these before it starts one. The client has classes
# for some of them and takes their word from the text; of the others it is how the text begins.
NOT_RUN: Final = (
    *(errors.OutOfMemoryError, errors.ReadOnlyError, errors.MasterDownError, errors.BusyLoadingError),
    *(errors.AuthenticationError, errors.NoPermissionError, errors.MaxConnectionsError),
)
NOT_RUN_WORDS: Final = ("NOREPLICAS", "MISCONF", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "DENIED", "MASTERDOWN", "LOADING")
log = logs.get("manta_gcs.store")


@dataclass(frozen=True, slots=True)
class Answer:
    """The script's reply, and the history it was given by: another one after a failover or a restart of the server."""

    items: list[Any]
    history: str


@dataclass(slots=True)
class _Attempt:
    """One try of a call. sent: whether the server may have got it."""

    operation: str
    change: bool
    sent: bool = False

    def failed(self, reason: str) -> StoreError:
        return (OutcomeUnknown if self.change and self.sent else StoreUnavailable)(self.operation, reason)


class RedisChannel:
    """At most CONNECTIONS connections to the primary, found anew through Sentinel where the URL names one."""

    def __init__(self, url: RedisUrl) -> None:
        """Connects at the first call, so that a GCS can start before its Redis."""
        self.url = url
        self.closed = asyncio.Event()
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._histories: dict[int, str] = {}  # id of a connection -> the history it talks to; checked connections only
        self._warned: set[str] = set()
        self._client = _client_of(url, self._connected)

    async def _connected(self, connection: Any) -> None:
        """After each connect, those that the pool makes anew by itself included: the other end may be another one."""
        self._histories.pop(id(connection), None)
        await connection.on_connect()

    async def read(self, operation: str, *arguments: Any) -> Answer:
        """A call that may be repeated, until the URL's time is up. raises: StoreUnavailable, StoreConfigError."""
        return await self._repeat(operation, arguments, change=False)

    async def change(self, operation: str, *arguments: Any) -> Answer:
        """A call that must not be repeated once it was sent.

        raises: StoreUnavailable when it surely was not run; OutcomeUnknown; StoreConfigError.
        """
        return await self._repeat(operation, arguments, change=True)

    async def _repeat(self, operation: str, arguments: Sequence[Any], change: bool) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.url.timeout_s
        backoff = Backoff(random.Random())
        reason = "no answer"
        while True:
            attempt = _Attempt(operation, change)
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._call(attempt, arguments)
            except TimeoutError:
                raise attempt.failed(f"{reason} within timeout_s={self.url.timeout_s:g}") from None
            except StoreUnavailable as error:
                reason = f"{error.reason}; no better answer"
                delay_s = backoff.delay_s()
                if self.closed.is_set() or loop.time() + delay_s >= deadline:
                    raise
            await asyncio.sleep(delay_s)

    async def _call(self, attempt: _Attempt, arguments: Sequence[Any]) -> Answer:
        operation = attempt.operation
        async with self._free, self.connection(operation) as (connection, history):
            try:
                attempt.sent = True
                reply = await self._run(connection, operation, arguments)
                if attempt.change and self.url.wait_replicas and reply[0] == b"done":
                    await self._wait_for_replicas(connection, operation)
            except (errors.RedisError, OSError) as error:
                if not isinstance(error, errors.ResponseError) or isinstance(error, errors.ReadOnlyError):
                    await self.drop(connection)  # broken, or of a server that is the primary no more
                if isinstance(error, NOT_RUN) or str(error).startswith(NOT_RUN_WORDS):
                    raise StoreUnavailable(operation, _text(error)) from error
                raise attempt.failed(_text(error)) from error
            except BaseException:
                await self.drop(connection)  # an answer may be under way on it
                raise
        return Answer(reply, history)

    async def _run(self, connection: Any, operation: str, arguments: Sequence[Any]) -> list[Any]:
        rest = (len(KEYS), *KEYS, operation, LIMIT_ENTRIES, LIMIT_BYTES, *arguments)
        await connection.send_command("EVALSHA", SHA, *rest)
        try:
            reply: list[Any] = await connection.read_response()
        except errors.NoScriptError:
            await connection.send_command("EVAL", SCRIPT, *rest)
            reply = await connection.read_response()
        return reply

    async def _wait_for_replicas(self, connection: Any, operation: str) -> None:
        """Acknowledge only what as many replicas hold as the URL says: a failover must not lose it."""
        wanted = self.url.wait_replicas
        await connection.send_command("WAIT", wanted, int(self.url.timeout_s * 1000))
        try:
            held = await connection.read_response()
        except errors.ResponseError as error:
            # The change itself was made: whatever this refusal says, it must not count as one of the change.
            raise OutcomeUnknown(operation, f"WAIT was refused: {_text(error)}") from error
        if held < wanted:
            raise OutcomeUnknown(operation, f"only {held} of {wanted} replicas hold the change")

    @asynccontextmanager
    async def connection(self, operation: str) -> AsyncIterator[tuple[Any, str]]:
        """A checked connection of the pool and the history that it talks to. raises: StoreUnavailable."""
        pool: Any = self._client.connection_pool  # the client's own types say nothing of it
        try:
            connection = await pool.get_connection()
        except errors.AuthenticationError as error:
            raise self._refused(str(error), "mend user and password in the URL") from error
        except (errors.RedisError, OSError) as error:
            raise StoreUnavailable(operation, _text(error)) from error
        try:
            history = self._histories.get(id(connection))
            if history is None:
                history = await self._check(connection, operation)
                self._histories[id(connection)] = history
            yield connection, history
        finally:
            await asyncio.shield(pool.release(connection))

    async def drop(self, connection: Any) -> None:
        """Close a connection whose state is unknown; the next use opens, and checks, another."""
        self._histories.pop(id(connection), None)
        await connection.disconnect(nowait=True)

    async def _check(self, connection: Any, operation: str) -> str:
        """What the server is and how it is configured. returns: the id of its history.

        raises: StoreConfigError for a server that would lose records or cannot run the script.
        """
        try:
            about = {**await _info(connection, "server"), **await _info(connection, "replication")}
            settings = await _settings(connection)
        except (errors.AuthenticationError, errors.NoPermissionError) as error:
            raise self._refused(str(error), "give a user and password in the URL that may run scripts") from error
        except (errors.RedisError, OSError) as error:
            await self.drop(connection)
            raise StoreUnavailable(operation, _text(error)) from error
        version = tuple(int(part) for part in about.get("redis_version", "0.0").split(".")[:2])
        if version < OLDEST:
            raise self._refused(f"runs Redis {about.get('redis_version')}", "use Redis 7.0 or newer")
        if about.get("redis_mode") == "cluster":
            raise self._refused("is a Redis Cluster", "use one primary, with replicas and Sentinel for failover")
        if about.get("role") != "master":
            await self.drop(connection)
            raise StoreUnavailable(operation, f"{self.url.shown} is a replica, not the primary")
        policy = settings.get("maxmemory-policy", "noeviction")
        if settings.get("maxmemory", "0") != "0" and policy != "noeviction":
            raise self._refused(f"evicts records (maxmemory-policy {policy})", "set maxmemory-policy noeviction")
        for warning, holds in (
            ("appendonly is off: a restart of Redis loses what came after its last snapshot",
             settings.get("appendonly") == "no"),
            ("appendfsync is not 'always': a loss of power loses the last second",
             settings.get("appendonly") == "yes" and settings.get("appendfsync") != "always"),
            ("wait_replicas is 0: a failover loses the changes that no replica had yet",
             int(about.get("connected_slaves", "0")) > 0 and not self.url.wait_replicas),
            ("CONFIG GET is refused: how much this server may lose is not known", not settings),
        ):  # fmt: skip
            if holds and warning not in self._warned:
                self._warned.add(warning)
                log.warning("redis_may_lose_records", store=self.url.shown, reason=warning)
        return about.get("master_replid", "") + about.get("run_id", "")

    def _refused(self, problem: str, remedy: str) -> StoreError:
        return StoreConfigError(self.url.shown, problem, remedy)

    async def close(self) -> None:
        self.closed.set()
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


def _client_of(url: RedisUrl, connected: Callable[[Any], Awaitable[None]]) -> client.Redis:
    once = Retry(NoBackoff(), 0)  # what may be repeated is decided here, call by call
    options: dict[str, Any] = {
        "db": url.database,
        "username": url.user,
        "password": url.password,
        # No socket_timeout: what waits here has a deadline of its own, and the client's wait for a send may swallow a
        # cancellation before Python 3.12 (asyncio.wait_for).
        "socket_timeout": None,
        "socket_connect_timeout": url.timeout_s,
        "socket_keepalive": True,
        "retry": once,
        "client_name": "manta-gcs",
        "decode_responses": False,
        "redis_connect_func": connected,
    }
    if url.tls is not None:
        options |= {"ssl": True, "ssl_ca_certs": url.tls.ca, "ssl_certfile": url.tls.cert, "ssl_keyfile": url.tls.key}
    if url.primary is None:
        host, _, port = url.endpoints[0].rpartition(":")
        return client.Redis(host=host.strip("[]"), port=int(port), **options)
    login = {"username": url.sentinel_user, "password": url.sentinel_password} if url.sentinel_password else {}
    tls = {name: value for name, value in options.items() if name.startswith("ssl")}
    # A Sentinel that is frozen must leave time for the next one.
    waits = {"socket_timeout": url.timeout_s / 3, "socket_connect_timeout": url.timeout_s / 3, "retry": once}
    hosts = [(host.strip("[]"), int(port)) for host, _, port in (each.rpartition(":") for each in url.endpoints)]
    sentinel: Any = Sentinel
    found: client.Redis = sentinel(hosts, sentinel_kwargs={**login, **tls, **waits}, **options).master_for(url.primary)
    return found


async def _info(connection: Any, section: str) -> dict[str, str]:
    await connection.send_command("INFO", section)
    reply = await connection.read_response()
    text = (reply if isinstance(reply, bytes) else str(reply).encode()).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _settings(connection: Any) -> dict[str, str]:
    """The server's settings that decide what it may lose; empty where it does not tell."""
    await connection.send_command("CONFIG", "GET", "maxmemory*", "append*")
    try:
        reply = await connection.read_response()
    except errors.ResponseError:
        return {}
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
