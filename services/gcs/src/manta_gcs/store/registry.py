"""Opening a store by its URL: one table from scheme to driver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from manta_gcs.store.errors import StoreConfigError
from manta_gcs.store.interface import Store
from manta_gcs.store.url import parse_etcd, parse_redis, parse_sqlite, redact, scheme_of

Opener = Callable[[str, str], Awaitable[Store]]


# Each driver is imported when it is chosen: the other's imports would only slow the start.


async def _open_etcd(url: str, holder: str) -> Store:
    from manta_gcs.store.etcd import EtcdStore

    return EtcdStore(parse_etcd(url))


async def _open_sqlite(url: str, holder: str) -> Store:
    from manta_gcs.store.sqlite import SqliteStore

    return await SqliteStore.open(parse_sqlite(url), holder)


async def _open_redis(url: str, holder: str) -> Store:
    from manta_gcs.store.redis_store import RedisStore

    return RedisStore(parse_redis(url))


DRIVERS: Final[Mapping[str, Opener]] = {
    "etcd": _open_etcd,
    "etcds": _open_etcd,
    "sqlite": _open_sqlite,
    "redis": _open_redis,
    "rediss": _open_redis,
    "redis+sentinel": _open_redis,
    "rediss+sentinel": _open_redis,
}


async def open_store(url: str, *, holder: str = "") -> Store:
    """Open the store that the URL names.

    holder: this process's address, shown to a second process that opens the same SQLite file.
    A SQLite file is locked and checked here; etcd and Redis are first called by the first operation.
    raises: StoreConfigError, and its StoreHeldError for a SQLite file that another process serves from.
    """
    opener = DRIVERS.get(scheme_of(url))
    if opener is None:
        raise StoreConfigError(
            repr(redact(url)), f"has the unknown scheme {scheme_of(url)!r}", f"known are {', '.join(sorted(DRIVERS))}"
        )
    return await opener(url, holder)
