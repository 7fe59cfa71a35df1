import json

import pytest
from ray._zygote.start_kind import Forked, Spawned, start_kind


@pytest.mark.parametrize(
    "name",
    ["PYTHONHASHSEED", "LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS", "MKL_NUM_THREADS"],
)
def test_a_variable_that_is_read_at_process_start_makes_the_worker_spawned(name: str) -> None:
    kind = start_kind({name: "4"}, {}, "")
    assert isinstance(kind, Spawned)
    assert name in kind.reason
    assert kind.interpreter == ()


def test_the_value_that_the_zygote_was_started_with_needs_no_new_interpreter() -> None:
    assert start_kind({"LD_LIBRARY_PATH": "/x"}, {"LD_LIBRARY_PATH": "/x"}, "") == Forked()


def test_other_variables_are_set_in_a_fork() -> None:
    assert start_kind({"CUDA_VISIBLE_DEVICES": "1", "A": "b"}, {}, json.dumps({"env_vars": {"A": "b"}})) == Forked()


def test_another_interpreter_makes_the_worker_spawned_with_its_arguments() -> None:
    kind = start_kind({}, {}, json.dumps({"py_executable": "python3 -X dev"}))
    assert isinstance(kind, Spawned)
    assert kind.interpreter == ("python3", "-X", "dev")


@pytest.mark.parametrize("runtime_env", ["{", "[]", '{"py_executable": 3}'])
def test_a_runtime_env_that_cannot_be_read_is_named(runtime_env: str) -> None:
    with pytest.raises(ValueError, match="runtime_env"):
        start_kind({}, {}, runtime_env)
