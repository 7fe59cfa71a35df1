"""A task's runtime env over its job's, and what resources there are."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from ray._runtime.process.cluster_view import merge_runtime_env, resources, task_runtime_env
from ray.exceptions import RuntimeEnvSetupError

_NAMES = st.text("AB", min_size=1, max_size=2)
_ENVS = st.fixed_dictionaries(
    {}, optional={"env_vars": st.dictionaries(_NAMES, _NAMES, max_size=3), "working_dir": _NAMES, "pip": st.just(["p"])}
)


def merged(job: object, own: object) -> object:
    text = merge_runtime_env(json.dumps(job), json.dumps(own))
    return json.loads(text) if text else {}


def test_objects_take_of_the_object_store() -> None:
    amounts = ResourceSet.from_floats({"CPU": 1, "object_store_memory": 1000}).to_proto()
    items = [
        gcs_pb2.NodeList.Item(info=common_pb2.NodeInfo(total=amounts), available=amounts, arena_used=used)
        for used in (300, 0)
    ]
    reply = SimpleNamespace(node_list=gcs_pb2.NodeList(items=items))
    process: Any = SimpleNamespace(blocking=contextlib.nullcontext, gcs=SimpleNamespace(call=lambda **_asked: reply))
    assert resources(process, available=True) == {"CPU": 2, "object_store_memory": 1700}
    assert resources(process, available=False) == {"CPU": 2, "object_store_memory": 2000}


def test_what_is_not_there_yet_or_for_a_whole_job_is_refused() -> None:
    hooked = json.dumps({"worker_process_setup_hook": "hook"})
    assert json.loads(task_runtime_env(hooked, hooked)) == json.loads(hooked)
    for job, own in (("", hooked), ('{"worker_process_setup_hook": "other"}', hooked), ("", '{"pip": ["p"]}')):
        with pytest.raises(RuntimeEnvSetupError):
            task_runtime_env(job, own)


def test_nothing_over_nothing_is_nothing() -> None:
    assert merge_runtime_env("", "") == merge_runtime_env("{}", "") == merge_runtime_env("{}", "{}") == ""


def test_env_vars_are_merged_and_other_fields_replaced() -> None:
    job = {"env_vars": {"A": "job", "B": "job"}, "working_dir": "/job"}
    own = {"env_vars": {"B": "own"}, "working_dir": "/own"}
    assert merged(job, own) == {"env_vars": {"A": "job", "B": "own"}, "working_dir": "/own"}


@given(_ENVS, _ENVS)
def test_each_field_is_the_tasks_own_or_else_the_jobs(job: dict[str, object], own: dict[str, object]) -> None:
    result = merged(job, own)
    assert isinstance(result, dict)
    for field in {*job, *own} - {"env_vars"}:
        assert result[field] == own.get(field, job.get(field))
    expected = {**job.get("env_vars", {}), **own.get("env_vars", {})}  # type: ignore[dict-item]
    assert (result.get("env_vars") or {}) == expected


@given(_ENVS, _ENVS)
def test_equal_envs_give_equal_texts(job: dict[str, object], own: dict[str, object]) -> None:
    """The text is part of a scheduling key: another order of the same fields must not make another."""
    turned = dict(reversed(list(own.items())))
    if job and own:
        assert merge_runtime_env(json.dumps(job), json.dumps(own)) == merge_runtime_env(
            json.dumps(job), json.dumps(turned)
        )
