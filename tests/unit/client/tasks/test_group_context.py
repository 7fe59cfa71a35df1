"""Which children follow a captured placement group, and which do not."""

from typing import Any

from manta_proto.common.v1 import common_pb2
from ray._runtime.api import TaskOptions
from ray._runtime.tasks.group_context import GroupContext

GROUP, OTHER = b"g" * 18, b"h" * 18


def context(group: bytes = GROUP) -> GroupContext:
    made = GroupContext()
    made.enter(group, True)
    return made


def test_a_task_follows_into_any_bundle_and_takes_its_children_along() -> None:
    followed = context().options_for_task(TaskOptions()).strategy
    assert followed is not None
    use = followed.placement_group
    assert (use.placement_group_id, use.bundle_index, use.capture_child_tasks) == (GROUP, -1, True)


def test_an_actor_follows_and_takes_nobody_along() -> None:
    followed = context().strategy_for_actor(None)
    assert followed is not None and followed.placement_group.placement_group_id == GROUP
    assert not followed.placement_group.capture_child_tasks


def test_what_says_where_it_runs_does_not_follow() -> None:
    for kind in ("DEFAULT", "SPREAD"):
        own = common_pb2.SchedulingStrategy(simple=kind)  # type: ignore[arg-type]
        options = TaskOptions(strategy=own)
        assert context().options_for_task(options) is options
        assert context().strategy_for_actor(own) is own


def test_a_label_selector_holds_beside_the_group() -> None:
    own = common_pb2.SchedulingStrategy()
    own.label_selector.add(key="zone", values=["a"])
    followed = context().options_for_task(TaskOptions(strategy=own)).strategy
    assert followed is not None and followed.label_selector == own.label_selector
    assert followed.placement_group.placement_group_id == GROUP


def test_the_same_function_elsewhere_is_not_taken_along() -> None:
    options = TaskOptions(max_retries=7)
    prepared: Any = object()
    options.cache = prepared
    first = context().options_for_task(options)
    assert first is context().options_for_task(options)
    assert first.cache is None and first.max_retries == 7
    second = context(OTHER).options_for_task(options)
    assert second is not first and options.strategy is None and options.cache is prepared
    assert first.strategy is not None and first.strategy.placement_group.placement_group_id == GROUP


def test_without_capture_nothing_follows() -> None:
    made = GroupContext()
    made.enter(GROUP, False)
    assert (made.group_id, made.captured) == (GROUP, b"")
    assert made.strategy_for_actor(None) is None
