"""Store URLs: what they mean, what is refused, and that no secret shows."""

from __future__ import annotations

import pytest
from manta_gcs.store import StoreConfigError, open_store
from manta_gcs.store.url import (
    EtcdUrl,
    RedisUrl,
    SqliteUrl,
    Synchronous,
    TlsFiles,
    parse_etcd,
    parse_redis,
    parse_sqlite,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("etcd://h", EtcdUrl(("h:2379",))),
        ("etcd://h1:1,h2", EtcdUrl(("h1:1", "h2:2379"))),
        ("etcd://[::1]:2379,[fe80::2]", EtcdUrl(("[::1]:2379", "[fe80::2]:2379"))),
        ("etcd://u:p%40%3A%2F@h", EtcdUrl(("h:2379",), "u", "p@:/")),
        ("etcds://h", EtcdUrl(("h:2379",), tls=TlsFiles())),
        ("etcd://h?ca=/a/ca.pem", EtcdUrl(("h:2379",), tls=TlsFiles("/a/ca.pem"))),
        ("etcd://h/?cert=/c&key=/k&timeout_s=1.5", EtcdUrl(("h:2379",), tls=TlsFiles(None, "/c", "/k"), timeout_s=1.5)),
    ],
)
def test_etcd_urls(url: str, expected: EtcdUrl) -> None:
    assert parse_etcd(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisUrl(("h:6379",))),
        ("redis://h:1/3?wait_replicas=2", RedisUrl(("h:1",), database=3, wait_replicas=2)),
        ("redis://:p%40@h", RedisUrl(("h:6379",), password="p@")),
        ("rediss://u:p@[::1]?ca=/ca", RedisUrl(("[::1]:6379",), user="u", password="p", tls=TlsFiles("/ca"))),
        ("redis+sentinel://a,b:1/main", RedisUrl(("a:26379", "b:1"), primary="main", wait_replicas=1)),
        (
            "rediss+sentinel://a/main/2?sentinel_password=s&timeout_s=2",
            RedisUrl(*(("a:26379",), "main", 2), sentinel_password="s", tls=TlsFiles(), timeout_s=2.0, wait_replicas=1),
        ),
    ],
)
def test_redis_urls(url: str, expected: RedisUrl) -> None:
    assert parse_redis(url) == expected
    assert "p@" not in parse_redis(url).shown


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("etcd://", "malformed endpoint ''"),
        ("etcd://h,,g", "malformed endpoint ''"),
        ("etcd://::1", "IPv6"),
        ("etcd://[::1", "malformed endpoint"),
        ("etcd://[h]:1", "malformed endpoint"),
        ("etcd://h:0", "malformed port '0'"),
        ("etcd://h:70000", "malformed port"),
        ("etcd://h:x", "malformed port 'x'"),
        ("etcd://h/path", "has a path"),
        ("etcd://user@h", "lacks a user or a password"),
        ("etcd://h?timeout=3", "unknown parameter 'timeout'.*timeout_s"),
        ("etcd://h?timeout_s=0", "timeout_s='0'"),
        ("etcd://h?timeout_s=nan", "timeout_s='nan'"),
        ("etcd://h?timeout_s=1&timeout_s=2", "empty or twice"),
        ("etcd://h?cert=/c", "only one of cert and key"),
    ],
)
def test_malformed_etcd_urls_are_refused_with_what_is_wrong(url: str, message: str) -> None:
    with pytest.raises(StoreConfigError, match=message):
        parse_etcd(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:memory", SqliteUrl(None, Synchronous.OFF)),
        ("sqlite:///a/b.db", SqliteUrl("/a/b.db", Synchronous.FULL)),
        ("sqlite:///a/b.db?synchronous=OFF", SqliteUrl("/a/b.db", Synchronous.OFF)),
        ("sqlite:///a%20b/c%3Fd.db?synchronous=full", SqliteUrl("/a b/c?d.db", Synchronous.FULL)),
    ],
)
def test_sqlite_urls(url: str, expected: SqliteUrl) -> None:
    assert parse_sqlite(url) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://relative.db", "three slashes"),
        ("sqlite:relative.db", "three slashes"),
        ("sqlite:///", "absolute path"),
        ("sqlite:///a?synchronous=normal", "off or full"),
        ("sqlite:///a?sync=off", "unknown parameter 'sync'"),
    ],
)
def test_malformed_sqlite_urls_are_refused(url: str, message: str) -> None:
    with pytest.raises(StoreConfigError, match=message):
        parse_sqlite(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://h,g", "names several servers"),
        ("redis://user@h", "lacks a password"),
        ("redis://h/zero", "malformed database 'zero'"),
        ("redis://h?wait_replicas=many", "no number of replicas"),
        ("redis://h?sentinel_password=x", "unknown parameter"),
        ("redis+sentinel://h", "names no primary"),
        ("rediss://h?cert=/c", "only one of cert and key"),
        ("mysql://u:secret@h", "unknown scheme 'mysql'.*etcd"),
        ("/a/path", "is no URL"),
        ("etcd://u:secret@h?nonsense=1", "unknown parameter"),
        ("etcd://u:secret@h:x", "malformed port"),
    ],
)
async def test_urls_of_no_driver_are_refused_without_showing_a_secret(url: str, message: str) -> None:
    with pytest.raises(StoreConfigError, match=message) as caught:
        await open_store(url)
    assert "secret" not in str(caught.value)


def test_a_password_shows_neither_in_repr_nor_in_what_is_logged() -> None:
    url = parse_etcd("etcds://user:hidden@h")
    assert "hidden" not in repr(url) and url.shown == "etcds://user@h:2379"
