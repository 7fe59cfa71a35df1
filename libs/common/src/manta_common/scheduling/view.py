"""What a policy sees of the cluster, what it is asked for, and what it answers when no node can be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from manta_common.ids import NodeId
from manta_common.resources import CPU, MEMORY, OBJECT_STORE_MEMORY, UNIT, ResourceSet
from manta_common.scheduling.strategy import Default, LabelConstraint, Strategy

# The resources whose use tells how busy a node is; those of the request count as well.
_LOAD_RESOURCES = (CPU, MEMORY, OBJECT_STORE_MEMORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One living node. A dead node is simply not in the view.

    available: free now, promises already subtracted; may be below zero where CPUs were lent out.
    running: leases and actors there, for spreading what needs no resources. spread: what SPREAD has sent there so far,
    by whoever keeps this view. schedulable: False while it drains, or while nobody knows what it has free.
    """

    node_id: NodeId
    total: ResourceSet
    available: ResourceSet
    labels: Mapping[str, str] = field(default_factory=dict)
    running: int = 0
    spread: int = 0
    schedulable: bool = True

    def utilization(self, request: ResourceSet) -> float:
        """The used share, 0 to 1, of the busiest of CPU, memory, object store and what the request asks for."""
        totals, free = self.total, self.available
        worst = 0.0
        for name in _LOAD_RESOURCES:
            total = totals.get(name)
            if total > 0:
                worst = max(worst, (total - free.get(name)) / total)
        for name in request:
            total = totals.get(name)
            if total > 0 and name not in _LOAD_RESOURCES:
                worst = max(worst, (total - free.get(name)) / total)
        return worst

    @property
    def idle(self) -> bool:
        """Whether nothing was placed there yet."""
        return self.running == 0 and self.available == self.total


ClusterView = Mapping[NodeId, NodeView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A task or an actor that wants a node.

    resources: must be free on the node. argument_bytes: node -> bytes of large arguments there; tasks only.
    """

    resources: ResourceSet
    strategy: Strategy = field(default_factory=Default)
    label_selector: tuple[LabelConstraint, ...] = ()
    is_actor: bool = False
    argument_bytes: Mapping[NodeId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Not now: some node could hold the request, but not at this moment."""

    nodes_seen: int
    filtered: Mapping[str, int]  # constraint -> nodes that it excluded
    exhausted: Mapping[str, int]  # resource -> nodes that have it, but not free

    def __str__(self) -> str:
        return f"waiting: {_reasons(self.nodes_seen, self.filtered, self.exhausted, 'lack free')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """No node of the cluster, even an idle one, could hold the request.

    final: True when waiting for another node cannot help: the request must fail as unschedulable.
    """

    nodes_seen: int
    filtered: Mapping[str, int]
    missing: Mapping[str, int]  # resource -> nodes that have too little of it even when idle
    final: bool = False
    reason: str = ""

    def __str__(self) -> str:
        reasons = self.reason or _reasons(self.nodes_seen, self.filtered, self.missing, "have too little")
        return f"infeasible: {reasons}"


def _reasons(seen: int, filtered: Mapping[str, int], short: Mapping[str, int], verb: str) -> str:
    parts = [f"{count} excluded by {name}" for name, count in sorted(filtered.items())]
    parts += [f"{count} {verb} {name}" for name, count in sorted(short.items())]
    return f"of {seen} node{'' if seen == 1 else 's'}: " + (", ".join(parts) if parts else "none fits")


def describe_request(resources: ResourceSet) -> str:
    """The resources as people write them: {CPU: 1, GPU: 0.5}."""
    return "{" + ", ".join(f"{name}: {amount / UNIT:g}" for name, amount in sorted(resources.items())) + "}"
