"""worker_process_setup_hook: how it travels, and what is told when it fails."""

from __future__ import annotations

from typing import Any

import pytest
from ray import _setup_hook
from ray._setup_hook import call, load_by_name, pack
from ray.exceptions import RuntimeEnvSetupError

calls: list[str] = []


def hook() -> None:
    calls.append("called")


def test_one_by_name_is_imported_where_it_is_run() -> None:
    calls.clear()
    packed = pack(f"{__name__}.hook")
    assert packed == {"name": f"{__name__}.hook"}
    assert call(packed) == ""
    assert load_by_name(f"{__name__}.calls") == ["called"]


def test_a_function_travels_by_value() -> None:
    seen: list[int] = []
    assert call(pack(lambda: seen.append(1))) == ""
    assert seen == []


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        ({"name": "no_such_module.hook"}, ("Failed to load the setup hook", "ModuleNotFoundError")),
        ({"name": "hook"}, ("Failed to load the setup hook", "no path like package.module.name")),
        (pack(lambda: 1 / 0), ("Failed to execute the setup hook method", "ZeroDivisionError")),
    ],
)
def test_what_went_wrong_is_told_with_the_traceback(packed: dict[str, str], words: tuple[str, ...]) -> None:
    problem = call(packed)
    assert all(word in problem for word in words)


def test_what_cannot_travel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other: Any = 3
    with pytest.raises(TypeError, match="must be a function"):
        pack(other)
    monkeypatch.setattr(_setup_hook, "LIMIT_BYTES", 10)
    with pytest.raises(RuntimeEnvSetupError, match="over the limit of 10"):
        pack(hook)
