"""Runtime environments: fields checked when set, kept when pickled or serialized."""

from __future__ import annotations

import json
import pickle
import warnings
from typing import Any

import pytest
from ray.exceptions import RuntimeEnvSetupError
from ray.runtime_env import RuntimeEnv, RuntimeEnvConfig, refuse_unsupported


def test_env_vars_are_honoured_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = RuntimeEnv(env_vars={"A": "1"}, config={"setup_timeout_seconds": 5})
    assert env.env_vars() == {"A": "1"}
    assert env["config"]["setup_timeout_seconds"] == 5


@pytest.mark.parametrize(
    ("field", "value"), [("working_dir", "."), ("pip", ["x"]), ("py_modules", ["m"]), ("plugin", 1)]
)
def test_what_is_not_there_yet_is_kept_and_refused_where_it_is_to_be_made(field: str, value: Any) -> None:
    env = RuntimeEnv(**{field: value})
    assert env[field] == value
    with pytest.raises(RuntimeEnvSetupError, match=f"{field} not supported yet"):
        refuse_unsupported(env)
    refuse_unsupported({field: type(value)(), "excludes": ["*.log"], "config": {}})


def test_a_setup_hook_is_shown_by_its_name() -> None:
    def hook() -> None: ...

    env = RuntimeEnv(worker_process_setup_hook=hook, env_vars={"A": "1"})
    assert json.loads(env.serialize()) == {"env_vars": {"A": "1"}, "worker_process_setup_hook": "hook"}


def test_an_environment_comes_back_from_json_and_from_a_pickle() -> None:
    env = RuntimeEnv(env_vars={"B": "2", "A": "1"}, config=RuntimeEnvConfig(eager_install=False))
    assert RuntimeEnv.deserialize(env.serialize()) == env
    restored = pickle.loads(pickle.dumps(env))
    assert type(restored) is RuntimeEnv
    assert restored == env
    assert env.serialize() == RuntimeEnv(config={"eager_install": False}, env_vars={"A": "1", "B": "2"}).serialize()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"env_vars": ["A=1"]}, TypeError),
        ({"env_vars": {"A": 1}}, TypeError),
        ({"env_vars": {"A=B": "1"}}, ValueError),
        ({"env_vars": {"": "1"}}, ValueError),
        ({"working_dir": 3}, TypeError),
        ({"py_modules": "m"}, TypeError),
        ({"pip": 3}, TypeError),
        ({"pip": ["a"], "conda": "b"}, ValueError),
        ({"config": {"setup_timeout_seconds": 0}}, ValueError),
        ({"config": {"setup_timeout_seconds": "1"}}, TypeError),
        ({"config": 3}, TypeError),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        RuntimeEnv(**fields)
    if len(fields) == 1:
        with pytest.raises(kind):
            RuntimeEnv()[next(iter(fields))] = next(iter(fields.values()))


def test_fields_are_set_and_taken_away() -> None:
    env = RuntimeEnv()
    env.set("env_vars", {"A": "1"})
    assert env.get("env_vars") == {"A": "1"}
    env.set("env_vars", None)
    assert env == {}
    assert env.get("env_vars", "none") == "none"
