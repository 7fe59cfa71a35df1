"""The text of `ray status`, from what the GCS says."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from manta.common.resources import ResourceSet
from manta.proto.common.v1 import common_pb2
from manta.proto.gcs.v1 import gcs_pb2

_RULE: Final = "-" * 63
_IN_BYTES: Final = ("memory", "object_store_memory")
# Made by the system for affinity to one node; nobody asked for them by name.
_HIDDEN: Final = re.compile(r"^(node:|bundle_group_)")
_OF_GROUP: Final = re.compile(r"^(?P<name>.+)_group_(?:(?P<index>\d+)_)?(?P<group>[0-9a-f]{36})$")


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
    lines += ["", "Total Constraints:", " (no request_resources() constraints)", "Total Demands:"]
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
    return info.node_name or f"node_{info.node_id.hex()}"


def _cause(info: common_pb2.NodeInfo) -> str:
    return info.death_cause.message or common_pb2.DeathCause.Kind.Name(info.death_cause.kind)


def _usage(items: Iterable[gcs_pb2.NodeList.Item]) -> list[str]:
    total, available = ResourceSet(), ResourceSet()
    reserved: dict[str, float] = {}
    reserved_free: dict[str, float] = {}
    for item in items:
        total += ResourceSet.from_proto(item.info.total)
        available += ResourceSet.from_proto(item.available)
        _add_groups(reserved, ResourceSet.from_proto(item.info.total).to_floats())
        _add_groups(reserved_free, ResourceSet.from_proto(item.available).to_floats())
    amounts, free = total.to_floats(), available.to_floats()
    lines = []
    for name in sorted(amounts):
        if _HIDDEN.match(name) or _OF_GROUP.match(name):
            continue
        used = amounts[name] - free.get(name, 0.0)
        if name in _IN_BYTES:
            lines.append(f" {bytes_text(used)}/{bytes_text(amounts[name])} {name}")
            continue
        line = f" {used:.1f}/{amounts[name]:.1f} {name}"
        if name in reserved:
            held = reserved[name]
            in_use = held - reserved_free.get(name, 0.0)
            # What a group reserves is taken from the node; what of it is used, only its bundles know.
            line = f" {used - held + in_use:.1f}/{amounts[name]:.1f} {name}"
            line += f" ({in_use:.1f} used of {held:.1f} reserved in placement groups)"
        lines.append(line)
    return lines or [" (no resources)"]


def _add_groups(sums: dict[str, float], amounts: Mapping[str, float]) -> None:
    for name, amount in amounts.items():
        match = _OF_GROUP.match(name)
        # A bundle shows under its index and under the whole group: count one of the two.
        if match is not None and match["index"] is None:
            sums[match["name"]] = sums.get(match["name"], 0.0) + amount


def _demands(status: gcs_pb2.ClusterStatus) -> list[str]:
    counts: dict[str, list[int]] = {}
    for demand in (demand for item in status.nodes for demand in item.demands):
        counts.setdefault(_shape(demand), [0, 0])[0] += demand.count
    for demand in status.pending_actors:
        counts.setdefault(_shape(demand), [0, 0])[1] += demand.count
    lines = [f" {shape}: {tasks + actors}+ pending tasks/actors" for shape, (tasks, actors) in sorted(counts.items())]
    return lines or [" (no resource demands)"]


def _shape(demand: gcs_pb2.ResourceDemand) -> str:
    return str(dict(sorted(ResourceSet.from_proto(demand.resources).to_floats().items())))
