"""What a policy sees of the cluster, what it is asked for, and what it answers when no node can be named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from manta.common.ids import NodeId
from manta.common.resources import CPU, MEMORY, OBJECT_STORE_MEMORY, UNIT, ResourceSet
from manta.common.scheduling.strategy import Default, LabelConstraint, Strategy

# The resources whose use tells how busy a node is; those of the request count as well.
_LOAD_RESOURCES = (CPU, MEMORY, OBJECT_STORE_MEMORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One living node. A dead node is simply not in the view.

    available: free now, promises already subtracted; may be below zero where CPUs were lent out.
    running: leases and actors there, for spreading what needs no resources.
    schedulable: False while it drains, or while nobody knows what it has free.
    """

    node_id: NodeId
    total: ResourceSet
    available: ResourceSet
    labels: Mapping[str, str] = field(default_factory=dict)
    running: int = 0
    schedulable: bool = True

    def utilization(self, request: ResourceSet) -> float:
        """The used share, 0 to 1, of the busiest of CPU, memory, object store and what the request asks for."""
        worst = 0.0
        for name in {*_LOAD_RESOURCES, *request}:
            total = self.total.get(name)
            if total > 0:
                worst = max(worst, (total - self.available.get(name)) / total)
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


@dataclass(frozen=True, slots=True)
class Candidates:
    """The nodes sorted by what hinders them, and the reasons counted."""

    free: tuple[NodeView, ...]  # could take the request now
    busy: tuple[NodeView, ...]  # could take it later
    answer: Refusal | Infeasible  # what to say when `free` is empty


def filter_nodes(request: Request, view: ClusterView, hard: Sequence[LabelConstraint] = ()) -> Candidates:
    """Sort out the nodes that meet the labels and have the resources. cost: O(nodes x (labels + resources))."""
    constraints: Iterable[LabelConstraint] = (*request.label_selector, *hard)
    free: list[NodeView] = []
    busy: list[NodeView] = []
    filtered: dict[str, int] = {}
    exhausted: dict[str, int] = {}
    missing: dict[str, int] = {}
    held_back = 0
    for node in view.values():
        failed = next((c for c in constraints if not c.matches(node.labels)), None)
        if failed is not None:
            filtered[f"label {failed}"] = filtered.get(f"label {failed}", 0) + 1
        elif not node.total.covers(request.resources):
            for name in node.total.missing(request.resources):
                missing[name] = missing.get(name, 0) + 1
        elif not node.schedulable:
            busy.append(node)
            held_back += 1
        elif node.available.covers(request.resources):
            free.append(node)
        else:
            busy.append(node)
            for name in node.available.missing(request.resources):
                exhausted[name] = exhausted.get(name, 0) + 1
    answer: Refusal | Infeasible
    if busy or free:
        waiting = {**filtered, "draining or out of touch": held_back} if held_back else filtered
        answer = Refusal(nodes_seen=len(view), filtered=waiting, exhausted=exhausted)
    else:
        answer = Infeasible(nodes_seen=len(view), filtered=filtered, missing=missing)
    return Candidates(tuple(free), tuple(busy), answer)


def describe_request(resources: ResourceSet) -> str:
    """The resources as people write them: {CPU: 1, GPU: 0.5}."""
    return "{" + ", ".join(f"{name}: {amount / UNIT:g}" for name, amount in sorted(resources.items())) + "}"
