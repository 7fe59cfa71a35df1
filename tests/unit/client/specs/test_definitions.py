"""Functions and classes by the hash of their pickled form, and a worker's bounded store of them."""

from __future__ import annotations

import threading

import cloudpickle
import pytest
from ray._runtime.specs import definitions
from ray._runtime.specs.definitions import DefinitionCache, define


def pickled(value: object) -> bytes:
    return cloudpickle.dumps(value, protocol=5)


def test_equal_pickles_have_equal_digests() -> None:
    def make(number: int) -> object:
        return lambda: number

    one, same, other = define(make(1), "f"), define(make(1), "f"), define(make(2), "f")
    assert one.digest == same.digest != other.digest
    assert len(one.digest) == 16 and one.timing is not same.timing


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"Could not serialize my_function.*inspect_serializability"):
        define(lambda: lock, "my_function")


def test_too_large_a_capture_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "LIMIT_BYTES", 1000)
    large = b"x" * 2000
    with pytest.raises(ValueError, match=r"f is \d+ bytes when pickled, over the limit of 1000.*ray.put"):
        define(lambda: large, "f")


def test_a_definition_is_unpickled_once() -> None:
    cache = DefinitionCache()
    cache.add(b"d", pickled(lambda: 1))
    assert b"d" in cache
    first = cache.load(b"d")
    cache.add(b"d", b"not even a pickle")
    assert cache.load(b"d") is first and first() == 1


def test_a_missing_one_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        DefinitionCache().load(b"?")


def test_a_failing_import_fails_again() -> None:
    cache = DefinitionCache()
    cache.add(b"d", b"cno_such_module_at_all\nname\n.")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            cache.load(b"d")


def test_the_least_recently_used_goes_first() -> None:
    cache = DefinitionCache(keep=2)
    for digest in (b"a", b"b"):
        cache.add(digest, pickled(digest.decode()))
        cache.load(digest)
    cache.load(b"a")
    cache.add(b"c", pickled("c"))
    cache.load(b"c")
    assert (b"a" in cache, b"b" in cache, b"c" in cache) == (True, False, True)


def test_definitions_that_never_run_are_bounded_too() -> None:
    cache = DefinitionCache(keep=2)
    for digest in (b"a", b"b", b"c"):
        cache.add(digest, pickled(1))
    assert b"a" not in cache and b"b" in cache and b"c" in cache
