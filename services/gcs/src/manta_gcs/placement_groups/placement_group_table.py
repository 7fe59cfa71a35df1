"""All placement groups, found by id, name, job, owner and node."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Final, TypeVar

from manta_common.ids import ActorId, JobId, NodeId, PlacementGroupId

from manta_gcs.kernel.commands import Command, Forget
from manta_gcs.placement_groups.group_state import GroupState
from manta_gcs.placement_groups.placement_group import PlacementGroup, key_of

# As many removed groups, of about so many bytes, can still be asked about; of older ones nothing is known.
REMOVED_LIMIT: Final = 1_000
REMOVED_BYTES: Final = 16 * 1024 * 1024
# What a group takes, and each of its bundles, beside its specification; measured.
_GROUP_BYTES: Final = 3_000
_BUNDLE_BYTES: Final = 800
_K = TypeVar("_K")


class PlacementGroupTable:
    """The indices change only through add(), move(), settle_on() and their kin, so that they cannot disagree."""

    def __init__(self, removed_limit: int = REMOVED_LIMIT) -> None:
        self._removed_limit = removed_limit
        self._groups: dict[PlacementGroupId, PlacementGroup] = {}
        self._removed: OrderedDict[PlacementGroupId, int] = OrderedDict()  # -> bytes, about
        self._removed_bytes = 0
        self._by_name: dict[tuple[str, str], PlacementGroupId] = {}
        self._by_job: defaultdict[JobId, dict[PlacementGroupId, None]] = defaultdict(dict)
        self._by_owner: defaultdict[ActorId, dict[PlacementGroupId, None]] = defaultdict(dict)
        self._by_node: defaultdict[NodeId, dict[PlacementGroupId, None]] = defaultdict(dict)
        self.counts: Counter[GroupState] = Counter()

    def __iter__(self) -> Iterator[PlacementGroup]:
        return iter(self._groups.values())

    def __len__(self) -> int:
        return len(self._groups)

    def get(self, group_id: bytes) -> PlacementGroup | None:
        return self._groups.get(PlacementGroupId(group_id))

    def living(self) -> list[PlacementGroup]:
        return [group for group in self if not group.removed]

    def named(self, namespace: str, name: str) -> PlacementGroup | None:
        """The living group of that name."""
        found = self._by_name.get((namespace, name))
        return self._groups[found] if found is not None else None

    def named_anywhere(self, name: str) -> list[PlacementGroup]:
        """Of any namespace. cost: O(names)."""
        return [self._groups[group_id] for (_, taken), group_id in self._by_name.items() if taken == name]

    def of_job(self, job_id: bytes) -> list[PlacementGroup]:
        return [self._groups[group_id] for group_id in self._by_job.get(JobId(job_id), ())]

    def owned_by(self, actor_id: ActorId) -> list[PlacementGroup]:
        return [self._groups[group_id] for group_id in self._by_owner.get(actor_id, ())]

    def on_node(self, node_id: NodeId) -> list[PlacementGroup]:
        """Those with a bundle there, or that want one there."""
        return [self._groups[group_id] for group_id in self._by_node.get(node_id, ())]

    def add(self, group: PlacementGroup) -> list[Command]:
        """Take in a new or restored group. returns: what of the oldest removed ones is forgotten for it."""
        self._groups[group.id] = group
        self.counts[group.state] += 1
        if group.removed:
            return self._remember_removed(group)
        spec = group.spec
        if spec.name:
            self._by_name[spec.ray_namespace, spec.name] = group.id
        if group.of_job:
            self._by_job[JobId(spec.creator_job_id)][group.id] = None
        if group.owner is not None:
            self._by_owner[group.owner][group.id] = None
        for node_id in group.reservation.nodes():
            self._by_node[node_id][group.id] = None
        return []

    def move(self, group: PlacementGroup, to: GroupState) -> None:
        before = group.state
        group.move(to)
        self.counts[before] -= 1
        self.counts[to] += 1

    def settle_on(self, group: PlacementGroup, node_id: NodeId) -> None:
        """The group wants something of that node."""
        self._by_node[node_id][group.id] = None

    def look_at(self, group: PlacementGroup, nodes: set[NodeId]) -> None:
        """The group may have let go of these nodes."""
        for node_id in nodes - group.reservation.nodes():
            _drop(self._by_node, node_id, group.id)

    def bury(self, group: PlacementGroup, nodes: set[NodeId]) -> list[Command]:
        """Keep it for those who ask about it; the oldest of these are forgotten. nodes: what it had."""
        self.move(group, GroupState.REMOVED)
        spec = group.spec
        if spec.name and self._by_name.get((spec.ray_namespace, spec.name)) == group.id:
            del self._by_name[spec.ray_namespace, spec.name]
        _drop(self._by_job, JobId(spec.creator_job_id), group.id)
        if group.owner is not None:
            _drop(self._by_owner, group.owner, group.id)
        for node_id in nodes:
            _drop(self._by_node, node_id, group.id)
        return self._remember_removed(group)

    def _remember_removed(self, group: PlacementGroup) -> list[Command]:
        commands: list[Command] = []
        size = _GROUP_BYTES + _BUNDLE_BYTES * len(group.bundles) + group.spec.ByteSize()
        self._removed[group.id] = size
        self._removed_bytes += size
        while len(self._removed) > self._removed_limit or self._removed_bytes > REMOVED_BYTES:
            oldest, freed = self._removed.popitem(last=False)
            self._removed_bytes -= freed
            del self._groups[oldest]
            self.counts[GroupState.REMOVED] -= 1
            commands.append(Forget(key_of(oldest)))
        return commands


def _drop(index: dict[_K, dict[PlacementGroupId, None]], key: _K, group_id: PlacementGroupId) -> None:
    inside = index.get(key)
    if inside is not None:
        inside.pop(group_id, None)
        if not inside:
            del index[key]
