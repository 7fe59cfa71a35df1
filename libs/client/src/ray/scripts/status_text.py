"""The text of `ray status`, from what the GCS says."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from manta_common.resources import OBJECT_STORE_MEMORY, ResourceSet
from manta_common.scheduling.bundles import describe_bundles
from manta_common.scheduling.demand_notice import shape_text
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2

_RULE: Final = "-" * 63
_IN_BYTES: Final = ("memory", OBJECT_STORE_MEMORY)
# Made by the system for affinity to one node; nobody asked for them by name.
_HIDDEN: Final = re.compile(r"^node:|_group_(\d+_)?[0-9a-f]{36}$")


def status_text(status: gcs_pb2.ClusterStatus, *, verbose: bool = False) -> str:
    """Several lines, in the layout that users know."""
    alive = [item for item in status.nodes if item.info.state == common_pb2.NodeInfo.ALIVE]
    draining = [item for item in status.nodes if item.info.state == common_pb2.NodeInfo.DRAINING]
    dead = [item for item in status.nodes if item.info.state == common_pb2.NodeInfo.DEAD]
    moment = datetime.fromtimestamp(status.at)
    title = f"======== Autoscaler status: {moment:%Y-%m-%d %H:%M:%S.%f} ========"
    lines = [title, "Node status", _RULE, "Active:"]
    lines += [f" 1 {_name(item.info)}" for item in alive] or [" (no active nodes)"]
    if draining:
        lines += ["Draining:", *(f" 1 {_name(item.info)}" for item in draining)]
    lines += ["Pending:", " (no pending nodes)", "Recent failures:"]
    lines += [f" {_name(item.info)}: {_cause(item.info)}" for item in dead] or [" (no failures)"]
    lines += ["", "Resources", _RULE, "Total Usage:", *_usage([*alive, *draining])]
    lines += ["", "From request_resources:", " (none)", "Pending Demands:"]
    lines += _demands(status)
    if verbose:
        for item in [*alive, *draining]:
            lines += ["", f"Node: {item.info.node_id.hex()}", " Usage:", *(f" {line}" for line in _usage([item]))]
    return "\n".join(lines)


def bytes_text(count: float) -> str:
    """1.5GiB; whole bytes below 1 KiB."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.2f}{unit}"
    return f"{count:g}B"


def _name(info: common_pb2.NodeInfo) -> str:
    named = info.node_name and info.node_name != info.ip_address
    return info.node_name if named else f"node_{info.node_id.hex()}"


def _cause(info: common_pb2.NodeInfo) -> str:
    return info.death_cause.message or common_pb2.DeathCause.Kind.Name(info.death_cause.kind)


def _usage(items: Iterable[gcs_pb2.NodeList.Item]) -> list[str]:
    total, available = ResourceSet(), ResourceSet()
    arena_used = 0
    reserved, reserved_free = ResourceSet(), ResourceSet()
    for item in items:
        total += ResourceSet.from_proto(item.info.total)
        available += ResourceSet.from_proto(item.available)
        arena_used += item.arena_used
        for bundle in item.bundles:
            held = ResourceSet.from_proto(bundle.resources)
            reserved += held
            reserved_free += ResourceSet.from_proto(bundle.available) if bundle.HasField("available") else held
    amounts, free = total.to_floats(), available.to_floats()
    held_amounts, held_free = reserved.to_floats(), reserved_free.to_floats()
    lines = []
    for name in sorted(amounts):
        if _HIDDEN.match(name):
            continue
        used = amounts[name] - free.get(name, 0.0)
        if name == OBJECT_STORE_MEMORY:
            used += arena_used
        # What a group reserves is taken from the node; what of it is used, only its bundles know.
        held_of = held_amounts.get(name, 0.0)
        in_use = held_of - held_free.get(name, 0.0)
        used += in_use - held_of
        if name in _IN_BYTES:
            line = f" {bytes_text(used)}/{bytes_text(amounts[name])} {name}"
            in_groups = f" ({bytes_text(in_use)} used of {bytes_text(held_of)} reserved in placement groups)"
        else:
            line = f" {used:.1f}/{amounts[name]:.1f} {name}"
            in_groups = f" ({in_use:.1f} used of {held_of:.1f} reserved in placement groups)"
        lines.append(line + in_groups if held_of else line)
    return lines or [" (no resources)"]


def _demands(status: gcs_pb2.ClusterStatus) -> list[str]:
    """By shape, and under each why it waits."""
    counts: Counter[str] = Counter()
    in_groups: Counter[str] = Counter()
    reasons: dict[str, dict[str, None]] = {}
    node_demands = (demand for item in status.nodes for demand in item.demands)
    for demand in (*node_demands, *status.pending_actors):
        shape = f" {_shape(demand.resources)}: {{}}+ pending tasks/actors"
        counts[shape] += demand.count
        in_groups[shape] += demand.in_placement_groups
        reasons.setdefault(shape, {})[demand.reason] = None
    for group in status.pending_placement_groups:
        strategy = placement_group_pb2.PlacementGroupSpec.Strategy.Name(group.strategy)
        bundles = describe_bundles(map(ResourceSet.from_proto, group.bundles), strategy)
        shape = f" {bundles}: {{}}+ pending placement groups"
        counts[shape] += group.count
        reasons.setdefault(shape, {})[group.reason] = None
    lines = []
    for shape in sorted(counts):
        using = f" ({in_groups[shape]}+ using placement groups)" if in_groups[shape] else ""
        lines.append(_counted(shape, counts[shape]) + using)
        lines += [f"   {reason}" for reason in reasons[shape] if reason]
    return lines or [" (no resource demands)"]


def _counted(shape: str, count: int) -> str:
    # The braces of a shape are its own.
    return f"{count}".join(shape.rsplit("{}", 1))


def _shape(resources: common_pb2.Resources) -> str:
    return shape_text(ResourceSet.from_proto(resources))
