"""Store errors survive pickling and say what to do."""

from __future__ import annotations

import pickle

import pytest
from manta_gcs.store import errors

EXAMPLES = [
    errors.StoreConfigError("etcd://h", "is wrong", "mend it"),
    errors.StoreHeldError("/a/gcs.db", 17, "127.0.0.1:6379"),
    errors.StoreHeldError("/a/gcs.db", None, ""),
    errors.StoreUnavailable("Txn", "refused"),
    errors.OutcomeUnknown("Txn", "timed out"),
    errors.LeaseEnded(255),
    errors.Fenced(b"/leader", 3, 0, b""),
    errors.Fenced(b"/leader", 3, 7, b"other"),
    errors.ChunksDamaged("abc", "gone"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling_and_say_what_to_do(error: errors.StoreError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)
    assert ";" in str(error) and isinstance(error, errors.StoreError)


def test_every_error_has_an_example() -> None:
    defined = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)}
    assert defined - {errors.StoreError} == {type(error) for error in EXAMPLES}
