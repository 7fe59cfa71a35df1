"""The placement group that the running task or actor is in, and whether its child tasks and actors go there too."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

    from ray._runtime.api import TaskOptions


class GroupContext:
    """group_id: b"" outside of groups. captured: the group that children follow into, b"" for none."""

    __slots__ = ("captured", "group_id")

    def __init__(self) -> None:
        self.group_id = b""
        self.captured = b""

    def enter(self, group_id: bytes, capture: bool) -> None:
        """What runs from now on is in that group; b"": in none."""
        self.group_id = group_id
        self.captured = group_id if capture else b""

    def options_for_task(self, options: TaskOptions) -> TaskOptions:
        """A child task's options: its own strategy, else any bundle of the captured group, for its children as well.

        What follows has a copy of its options, so that the same function elsewhere is not taken along.
        """
        known = options.followed
        if known is not None and known.strategy and known.strategy.placement_group.placement_group_id == self.captured:
            return known
        strategy = self._followed(options.strategy, capture=True)
        if strategy is options.strategy:
            return options
        options.followed = followed = copy.copy(options)
        followed.strategy, followed.cache, followed.followed = strategy, None, None
        return followed

    def strategy_for_actor(self, own: common_pb2.SchedulingStrategy | None) -> common_pb2.SchedulingStrategy | None:
        """As for a task, but that an actor does not pass on what it follows: its own options say what it captures."""
        return self._followed(own, capture=False)

    def _followed(
        self, own: common_pb2.SchedulingStrategy | None, capture: bool
    ) -> common_pb2.SchedulingStrategy | None:
        if not self.captured or (own is not None and own.WhichOneof("kind") is not None):
            return own
        from manta_proto.common.v1 import common_pb2

        followed = common_pb2.SchedulingStrategy()
        if own is not None:
            followed.CopyFrom(own)  # its label selector holds beside the group
        followed.placement_group.placement_group_id = self.captured
        followed.placement_group.bundle_index = -1
        followed.placement_group.capture_child_tasks = capture
        return followed
