"""Options of tasks, actors and methods: what is accepted, what it becomes, and how the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from manta_proto.common.v1 import common_pb2
from ray import _options
from ray._ids import NodeID, PlacementGroupID
from ray._method import method
from ray._runtime.api import DYNAMIC, STREAMING, ActorOptions, TaskOptions
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)

GROUP = PlacementGroup(PlacementGroupID(b"g" * 18), [{"CPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}])


def task(**options: Any) -> TaskOptions:
    return _options.resolve_task(_options.check_task(options))


def actor(**options: Any) -> ActorOptions:
    return _options.resolve_actor(_options.check_actor(options))


def test_a_task_takes_one_cpu_unless_told_otherwise() -> None:
    assert task().resources == {"CPU": 1}
    assert task(num_gpus=1).resources == {"CPU": 1, "GPU": 1}
    assert task(num_cpus=0).resources == {}
    assert task(num_cpus=0.5, memory=2**20, resources={"disk": 2}).resources == {
        "CPU": 0.5,
        "memory": 2**20,
        "disk": 2,
    }
    assert task(accelerator_type="A100").resources == {"CPU": 1, "accelerator_type:A100": 0.001}


def test_an_actor_needs_one_cpu_to_be_placed_and_none_to_live() -> None:
    assert (actor().placement_resources, actor().lifetime_resources) == ({"CPU": 1}, {})
    with_memory = actor(memory=100)
    assert (with_memory.placement_resources, with_memory.lifetime_resources) == (
        {"CPU": 1, "memory": 100},
        {"memory": 100},
    )


def test_an_actor_holds_what_was_asked_for_and_then_also_a_cpu() -> None:
    for made in (actor(num_cpus=2), actor(num_cpus=2, num_gpus=0.5)):
        assert made.placement_resources == made.lifetime_resources
        assert made.lifetime_resources["CPU"] == 2
    assert actor(num_gpus=1).lifetime_resources == {"GPU": 1, "CPU": 1}
    assert actor(num_cpus=0, num_gpus=1).lifetime_resources == {"GPU": 1}
    assert actor(num_cpus=0).placement_resources == {}


def test_a_task_that_uses_a_gpu_gets_a_process_of_its_own() -> None:
    assert task(num_gpus=1).max_calls == 1
    assert task(num_gpus=1, max_calls=5).max_calls == 5
    assert task().max_calls == 0


@pytest.mark.parametrize(("given", "resolved"), [(0, 0), (3, 3), ("dynamic", DYNAMIC), ("streaming", STREAMING)])
def test_num_returns(given: Any, resolved: int) -> None:
    checked = _options.check_task({"num_returns": given})
    assert _options.resolve_task(checked, is_generator=resolved < 0).num_returns == resolved


@pytest.mark.parametrize("word", ["dynamic", "streaming"])
def test_only_a_generator_streams(word: str) -> None:
    with pytest.raises(ValueError, match=f"{word}.*generator function"):
        task(num_returns=word)


def test_a_generator_streams_unless_told_otherwise() -> None:
    assert _options.resolve_task({}, is_generator=True).num_returns == STREAMING
    assert _options.resolve_task({"num_returns": 2}, is_generator=True).num_returns == 2


BAD_TASK = [
    ({"num_cpus": -1}, ValueError, "num_cpus"),
    ({"num_cpus": "2"}, TypeError, "num_cpus"),
    ({"num_cpus": True}, TypeError, "num_cpus"),
    ({"num_cpus": float("nan")}, ValueError, "num_cpus"),
    ({"num_cpus": 0.00001}, ValueError, "0.0001"),
    ({"num_gpus": 1.5}, ValueError, "whole"),
    ({"memory": -1}, ValueError, "memory"),
    ({"resources": {"CPU": 1}}, ValueError, "num_cpus"),
    ({"resources": {"GPU": 1}}, ValueError, "num_gpus"),
    ({"resources": {"memory": 1}}, ValueError, "memory"),
    ({"resources": {"disk": -1}}, ValueError, "disk"),
    ({"resources": [("disk", 1)]}, TypeError, "resources"),
    ({"num_returns": -1}, ValueError, "num_returns"),
    ({"num_returns": "many"}, ValueError, "streaming"),
    ({"num_returns": 1.0}, TypeError, "num_returns"),
    ({"max_retries": -2}, ValueError, "max_retries"),
    ({"max_retries": 1.5}, TypeError, "max_retries"),
    ({"max_calls": -1}, ValueError, "max_calls"),
    ({"retry_exceptions": "ValueError"}, TypeError, "retry_exceptions"),
    ({"retry_exceptions": [1]}, ValueError, "exception classes"),
    ({"name": 3}, TypeError, "name"),
    ({"scheduling_strategy": "FASTEST"}, ValueError, "SPREAD"),
    ({"scheduling_strategy": 3}, TypeError, "NodeAffinitySchedulingStrategy"),
    ({"scheduling_strategy": "SPREAD", "placement_group": GROUP}, ValueError, "exclude"),
    ({"placement_group": "mine"}, TypeError, "PlacementGroup"),
    ({"placement_group": GROUP, "placement_group_bundle_index": 2}, ValueError, "bundles 0 to 1"),
    ({"placement_group": GROUP, "num_cpus": 2}, ValueError, "cannot fit into any of its bundles"),
    ({"placement_group": GROUP, "placement_group_bundle_index": 0, "num_gpus": 1}, ValueError, "fit into bundle 0"),
    ({"scheduling_strategy": PlacementGroupSchedulingStrategy(None, 1)}, ValueError, "needs a placement group"),
    ({"placement_group_bundle_index": 0}, ValueError, "needs 'placement_group'"),
    ({"label_selector": {"region": 1}}, TypeError, "label_selector"),
    ({"label_selector": {"region": "in(a"}}, ValueError, "in\\(a, b\\)"),
    ({"enable_task_events": 1}, TypeError, "enable_task_events"),
    ({"runtime_env": 3}, TypeError, "runtime_env"),
    ({"runtime_env": {"env_vars": {"A": 1}}}, TypeError, "env_vars"),
    ({"_generator_backpressure_num_objects": 0}, ValueError, "_generator_backpressure"),
]


@pytest.mark.parametrize(("options", "kind", "words"), BAD_TASK, ids=lambda value: str(value)[:60])
def test_bad_task_options_are_refused_by_name(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        task(**options)


def test_some_options_are_of_the_decorator_only() -> None:
    with pytest.raises(ValueError, match="max_calls cannot be set"):
        _options.check_task({"max_calls": 1}, in_options=True)
    with pytest.raises(ValueError, match="concurrency_groups cannot be set"):
        _options.check_actor({"concurrency_groups": {"io": 1}}, in_options=True)
    with pytest.raises(ValueError, match="name"):
        method(name="call")
    with pytest.raises(ValueError, match="tensor transport"):
        method(tensor_transport="nccl")


def test_no_pending_calls_is_no_limit() -> None:
    assert _options.resolve_actor(_options.check_actor({"max_pending_calls": 0})).max_pending_calls == -1
    assert _options.resolve_actor(_options.check_actor({"concurrency_groups": []})).concurrency_groups == {}


BAD_ACTOR = [
    ({"name": ""}, ValueError, "name"),
    ({"name": 1}, TypeError, "name"),
    ({"namespace": ""}, ValueError, "namespace"),
    ({"lifetime": "forever"}, ValueError, "detached"),
    ({"max_restarts": -2}, ValueError, "max_restarts"),
    ({"max_task_retries": "1"}, TypeError, "max_task_retries"),
    ({"max_concurrency": 0}, ValueError, "max_concurrency"),
    ({"max_pending_calls": -2}, ValueError, "max_pending_calls"),
    ({"lifetime": 3}, TypeError, "lifetime"),
    ({"object_store_memory": 1.5}, TypeError, "object_store_memory"),
    ({"enable_tensor_transport": True}, ValueError, "enable_tensor_transport"),
    ({"enable_tensor_transport": "x"}, TypeError, "enable_tensor_transport"),
    ({"runtime_env": "x"}, TypeError, "'runtime_env' must be a dict or a RuntimeEnv, not str: 'x'"),
    ({"get_if_exists": True}, ValueError, "name"),
    ({"concurrency_groups": {"io": 0}}, ValueError, "concurrency_groups"),
    ({"concurrency_groups": ["io"]}, TypeError, "concurrency_groups"),
]


@pytest.mark.parametrize(("options", "kind", "words"), BAD_ACTOR, ids=lambda value: str(value)[:60])
def test_bad_actor_options_are_refused_by_name(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        actor(**options)


@pytest.mark.parametrize("check", [_options.check_task, _options.check_actor, _options.check_method])
def test_an_unknown_option_is_refused_with_the_valid_ones(check: Any) -> None:
    with pytest.raises(ValueError, match=r"Invalid option 'num_cpu'.*name") as refusal:
        check({"num_cpu": 1})
    assert "enable_task_events" in str(refusal.value)


def test_options_of_actors_are_none_of_tasks_and_the_other_way_round() -> None:
    with pytest.raises(ValueError, match="max_restarts"):
        _options.check_task({"max_restarts": 1})
    with pytest.raises(ValueError, match="num_returns"):
        _options.check_actor({"num_returns": 1})


def test_none_means_not_given() -> None:
    assert _options.check_task(dict.fromkeys(_options.TASK_OPTIONS)) == {}
    assert _options.check_actor(dict.fromkeys(_options.ACTOR_OPTIONS)) == {}


def test_max_calls_cannot_be_changed_for_one_call() -> None:
    with pytest.raises(ValueError, match="max_calls"):
        _options.check_task({"max_calls": 1}, in_options=True)


def test_retries_of_tasks_can_be_set_for_a_whole_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert task().max_retries == 3
    monkeypatch.setenv("RAY_TASK_MAX_RETRIES", "0")
    assert task().max_retries == 0
    assert task(max_retries=-1).max_retries == -1
    monkeypatch.setenv("RAY_TASK_MAX_RETRIES", "some")
    with pytest.raises(ValueError, match="RAY_TASK_MAX_RETRIES"):
        task()


def test_what_an_actor_was_asked_to_be() -> None:
    made = actor(
        name="a",
        namespace="n",
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=2,
        max_concurrency=4,
        concurrency_groups={"io": 2},
        max_pending_calls=7,
        allow_out_of_order_execution=True,
    )
    assert (made.name, made.namespace, made.detached, made.get_if_exists) == ("a", "n", True, True)
    assert (made.max_restarts, made.max_task_retries, made.max_concurrency) == (-1, 2, 4)
    assert (made.concurrency_groups, made.max_pending_calls, made.allow_out_of_order) == ({"io": 2}, 7, True)
    assert actor(lifetime="non_detached").detached is False and actor().detached is None


def test_nothing_said_of_scheduling_differs_from_default_said() -> None:
    assert task().strategy is None
    for options in (
        {"scheduling_strategy": "DEFAULT"},
        {"scheduling_strategy": PlacementGroupSchedulingStrategy(None)},
    ):
        strategy = task(**options).strategy
        assert strategy is not None
        assert strategy.WhichOneof("kind") == "simple"
        assert strategy.simple == common_pb2.SchedulingStrategy.DEFAULT
    default = task(scheduling_strategy=PlacementGroupSchedulingStrategy("default", -1, True))
    assert default.strategy is None and default.capture_child_tasks
    with pytest.raises(ValueError, match="needs a placement group"):
        task(scheduling_strategy=PlacementGroupSchedulingStrategy("default", 1))
    with pytest.raises(TypeError, match="'default' or None"):
        PlacementGroupSchedulingStrategy("another")  # type: ignore[arg-type]


def test_strategies_on_the_wire() -> None:
    spread = task(scheduling_strategy="SPREAD").strategy
    assert spread is not None and spread.simple == common_pb2.SchedulingStrategy.SPREAD
    node = NodeID(b"n" * 28)
    for node_id in (node, node.hex()):
        affinity = task(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=True)).strategy
        assert affinity is not None
        assert (affinity.node_affinity.node_id, affinity.node_affinity.soft) == (node.binary(), True)
    labels = actor(
        scheduling_strategy=NodeLabelSchedulingStrategy(
            {"zone": In("a", "b"), "gpu": Exists()}, soft={"spot": DoesNotExist(), "arch": NotIn("arm")}
        )
    ).strategy
    assert labels is not None
    assert [(c.key, c.operator, list(c.values)) for c in labels.node_labels.hard] == [
        ("zone", common_pb2.LabelConstraint.IN, ["a", "b"]),
        ("gpu", common_pb2.LabelConstraint.EXISTS, []),
    ]
    assert [c.operator for c in labels.node_labels.soft] == [
        common_pb2.LabelConstraint.DOES_NOT_EXIST,
        common_pb2.LabelConstraint.NOT_IN,
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"scheduling_strategy": PlacementGroupSchedulingStrategy(GROUP, 1, True)},
        {
            "placement_group": GROUP,
            "placement_group_bundle_index": 1,
            "placement_group_capture_child_tasks": True,
        },
    ],
    ids=["strategy", "legacy"],
)
def test_a_placement_group_is_named_in_either_way(options: dict[str, Any]) -> None:
    for made in (task(**options), actor(**options)):
        assert made.strategy is not None
        use = made.strategy.placement_group
        assert (use.placement_group_id, use.bundle_index, use.capture_child_tasks) == (b"g" * 18, 1, True)
        assert made.capture_child_tasks


def test_label_selectors_on_the_wire() -> None:
    made = task(label_selector={"a": "x", "b": "!x", "c": "in(x, y)", "d": "!in(x,y)"})
    assert made.strategy is not None
    names = common_pb2.LabelConstraint.Operator.Name
    assert [(c.key, names(c.operator), list(c.values)) for c in made.strategy.label_selector] == [
        ("a", "IN", ["x"]),
        ("b", "NOT_IN", ["x"]),
        ("c", "IN", ["x", "y"]),
        ("d", "NOT_IN", ["x", "y"]),
    ]
    assert made.strategy.WhichOneof("kind") is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: NodeAffinitySchedulingStrategy("no hex", soft=False),
        lambda: NodeLabelSchedulingStrategy({}),
        lambda: In(),
        lambda: In(1),
        lambda: NodeLabelSchedulingStrategy({"a": "b"}),
        lambda: NodeLabelSchedulingStrategy(["a"]),
        lambda: NodeAffinitySchedulingStrategy("a" * 56, soft=False, _spill_on_unavailable=True),
        lambda: NodeAffinitySchedulingStrategy("a" * 56, soft=True, _fail_on_unavailable=True),
        lambda: (
            PlacementGroupSchedulingStrategy(GROUP, -2)
            and task(scheduling_strategy=PlacementGroupSchedulingStrategy(GROUP, -2))
        ),
    ],
)
def test_bad_strategies_are_refused(make: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        make()


def test_a_runtime_env_becomes_json_and_an_empty_one_nothing() -> None:
    assert json.loads(task(runtime_env={"env_vars": {"A": "1"}}).runtime_env) == {"env_vars": {"A": "1"}}
    assert task(runtime_env={}).runtime_env == ""
    assert actor().runtime_env == ""


# What programs written for upstream 2.60 may pass.
UPSTREAM_TASK = """
_generator_backpressure_num_objects
_labels
_num_objects_per_yield
accelerator_type
enable_task_events
label_selector
max_calls
max_retries
memory
name
num_cpus
num_gpus
num_returns
object_store_memory
placement_group
placement_group_bundle_index
placement_group_capture_child_tasks
resources
retry_exceptions
runtime_env
scheduling_strategy
"""
UPSTREAM_ACTOR = """
_actor_generator_backpressure_num_objects
_labels
accelerator_type
allow_out_of_order_execution
concurrency_groups
enable_task_events
enable_tensor_transport
get_if_exists
label_selector
lifetime
max_concurrency
max_pending_calls
max_restarts
max_task_retries
memory
name
namespace
num_cpus
num_gpus
object_store_memory
placement_group
placement_group_bundle_index
placement_group_capture_child_tasks
resources
runtime_env
scheduling_strategy
"""


def test_all_options_that_upstream_documents_are_known() -> None:
    assert sorted(_options.TASK_OPTIONS) == UPSTREAM_TASK.split()
    assert sorted(_options.ACTOR_OPTIONS) == UPSTREAM_ACTOR.split()
