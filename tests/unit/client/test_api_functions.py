"""get, put, wait, kill and their kin: what reaches the runtime, and what is refused before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import ray

from tests.unit.client.recording_runtime import RecordingRuntime, recording


@pytest.fixture
def runtime() -> Iterator[RecordingRuntime]:
    with recording() as made:
        yield made


def ref(number: int = 1) -> ray.ObjectRef:
    return ray.ObjectRef(number.to_bytes(28, "big"))


@ray.remote
class Nothing:
    pass


def test_get_takes_one_ref_or_a_list(runtime: RecordingRuntime) -> None:
    assert ray.get(ref(1)) == ref(1).binary()
    assert ray.get([ref(1), ref(2), ref(1)]) == [ref(1).binary(), ref(2).binary(), ref(1).binary()]
    assert ray.get([]) == []
    ray.get(ref(), timeout=0)
    ray.get(ref(), timeout=-1)
    assert [timeout for _, timeout in runtime.gets] == [None, None, None, 0, None]


def test_get_refuses_a_list_of_other_things(runtime: RecordingRuntime) -> None:
    with pytest.raises(TypeError, match="ObjectRef"):
        ray.get([ref(), 3])


def test_questions_about_a_cluster_start_none() -> None:
    for ask in (ray.nodes, ray.cluster_resources, ray.available_resources):
        with pytest.raises(ray.exceptions.RaySystemError, match="Ray has not been started yet"):
            ask()
    with pytest.raises(RuntimeError, match="Ray has not been started yet"):
        ray.timeline()
    assert not ray.is_initialized()


def test_the_address_of_this_machine_is_that_of_its_node(runtime: RecordingRuntime) -> None:
    runtime.ip_address = "10.1.2.3"
    assert ray.util.get_node_ip_address() == "10.1.2.3"


@pytest.mark.parametrize("value", [3, "ref", (1, 2), {"a": 1}, None], ids=repr)
def test_get_refuses_what_is_no_ref(runtime: RecordingRuntime, value: Any) -> None:
    with pytest.raises(ValueError, match="ObjectRef"):
        ray.get(value)


def test_get_refuses_a_negative_timeout(runtime: RecordingRuntime) -> None:
    with pytest.raises(ValueError, match="timeout"):
        ray.get(ref(), timeout=-2)


def test_put_refuses_a_ref(runtime: RecordingRuntime) -> None:
    with pytest.raises(TypeError, match="ObjectRef"):
        ray.put(ref())
    with pytest.raises(TypeError, match="_owner"):
        ray.put(1, _owner="me")


def test_wait_passes_on_what_it_checked(runtime: RecordingRuntime) -> None:
    refs = [ref(1), ref(2)]
    assert ray.wait(refs, num_returns=1, timeout=2.5, fetch_local=False) == (refs[:1], refs[1:])
    assert runtime.waits == [(refs, 1, 2.5, False)]
    assert ray.wait([]) == ([], [])


BAD_WAITS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (ref(1), {}, TypeError, "list"),
    ((ref(1),), {}, TypeError, "list"),
    ([1], {}, TypeError, "ObjectRefs"),
    ([ref(1), ref(1)], {}, ValueError, "duplicates"),
    ([ref(1)], {"num_returns": 0}, ValueError, "num_returns"),
    ([ref(1)], {"num_returns": 2}, ValueError, r"1\.\.1"),
    ([ref(1)], {"num_returns": 1.0}, TypeError, "num_returns"),
    ([ref(1)], {"timeout": -1}, ValueError, "timeout"),
]


@pytest.mark.parametrize(("refs", "options", "kind", "words"), BAD_WAITS)
def test_wait_refuses(
    runtime: RecordingRuntime, refs: Any, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        ray.wait(refs, **options)
    assert runtime.waits == []


def test_kill_takes_handles_only(runtime: RecordingRuntime) -> None:
    handle = Nothing.remote()
    ray.kill(handle, no_restart=False)
    assert runtime.killed == [(handle._actor_id, False)]
    with pytest.raises(ValueError, match="handle"):
        ray.kill(ref())  # type: ignore[arg-type]


def test_cancel_takes_refs_only(runtime: RecordingRuntime) -> None:
    for value in ([ref()], Nothing.remote(), 3):
        with pytest.raises(TypeError, match="ObjectRef"):
            ray.cancel(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "namespace", "kind"), [("", None, ValueError), ("a", "", ValueError), (3, None, TypeError)]
)
def test_get_actor_refuses_empty_and_odd_names(
    runtime: RecordingRuntime, name: Any, namespace: str | None, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="name"):
        ray.get_actor(name, namespace)


def test_gpu_ids_are_numbers_where_they_are(runtime: RecordingRuntime) -> None:
    assert ray.get_gpu_ids() == []
    runtime.state["gpu_ids"] = ["0", "3"]
    assert ray.get_gpu_ids() == [0, 3]
    runtime.state["gpu_ids"] = ["GPU-abc"]
    assert ray.get_gpu_ids() == ["GPU-abc"]


def test_the_context_of_a_driver_and_of_a_task(runtime: RecordingRuntime) -> None:
    context = ray.get_runtime_context()
    assert context.get_node_id() == (b"n" * 28).hex()
    assert context.get_job_id() == "00000001"
    assert context.get_task_id() is None
    assert context.get_actor_id() is None
    assert context.get_session_name() == "session_1"
    with pytest.raises(AssertionError):
        context.get_assigned_resources()
    runtime.is_driver = False
    runtime.state.update(task_id=b"t" * 24, actor_id=b"a" * 16, actor_name="", resources={"CPU": 1.0})
    assert context.get_task_id() == (b"t" * 24).hex()
    assert context.actor_id == ray.ActorID(b"a" * 16)
    assert context.get_actor_name() == ""
    assert context.get_assigned_resources() == {"CPU": 1.0}
    assert context.get()["task_id"] == ray.TaskID(b"t" * 24)


@pytest.mark.parametrize(
    ("bundles", "options", "kind"),
    [
        ([], {}, ValueError),
        ([{}], {}, ValueError),
        ([{"CPU": 0}], {}, ValueError),
        ([{"CPU": -1}], {}, ValueError),
        ([{"CPU": "1"}], {}, ValueError),
        ("CPU", {}, ValueError),
        ([{"GPU": 1.5}], {}, ValueError),
        ([{"CPU": 1}], {"strategy": "ANY"}, ValueError),
        ([{"CPU": 1}], {"lifetime": "long"}, ValueError),
        ([{"CPU": 1}], {"_soft_target_node_id": "ab"}, ValueError),
        ([{"CPU": 1}], {"bundle_label_selector": []}, ValueError),
        ([{"CPU": 1}], {"name": 3}, TypeError),
    ],
)
def test_impossible_placement_groups_are_refused(bundles: Any, options: dict[str, Any], kind: type[Exception]) -> None:
    from ray.util import placement_group

    with pytest.raises(kind):
        placement_group(bundles, **options)
