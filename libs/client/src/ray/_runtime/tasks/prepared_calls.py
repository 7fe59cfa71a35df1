"""What all calls of one function with the same options have in common, computed for the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._runtime.api import FunctionDescriptor
    from ray._runtime.specs.definitions import Definition
    from ray._runtime.specs.task_kind import TaskKind
    from ray._runtime.tasks.lease_manager import SchedulingKey
    from ray._runtime.tasks.task_submitter import TaskSubmitter


class PreparedCalls:
    """key: the queue of those whose arguments do not say where they had best run; see Leasing.key_near.

    template: their worker.v1.Task, but for what differs.
    """

    __slots__ = ("definition", "function", "key", "kind", "name", "submitter", "template")

    def __init__(
        self,
        submitter: TaskSubmitter,
        function: FunctionDescriptor,
        definition: Definition,
        key: SchedulingKey,
        name: str,
        template: bytes,
        kind: TaskKind | None,
    ) -> None:
        self.submitter = submitter
        self.function = function
        self.definition = definition
        self.key = key
        self.name = name
        self.template = template
        self.kind = kind
