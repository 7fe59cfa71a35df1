"""This node's entry in the cluster's list, as its parts become known."""

from __future__ import annotations

import platform
import socket
import time
from pathlib import Path
from typing import Final

from manta_common.ids import NodeId
from manta_proto.common.v1 import common_pb2
from manta_proto.object_manager.v1 import object_manager_pb2

from manta_raylet.server.settings import RayletSettings

_VERSION = "0.1.0"
NODE_ID_LABEL: Final = "ray.io/node-id"


def machine_id() -> str:
    """Equal for processes that can share Unix sockets and pids: boot id and hostname."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = "unknown"
    return f"{boot}/{socket.gethostname()}"


def labels_of(settings: RayletSettings, node_id: NodeId) -> dict[str, str]:
    """What was set for the node, and the label that every node has: its id."""
    return {**settings.label_map, NODE_ID_LABEL: node_id.hex()}


class NodeDescription:
    """Makes NodeInfo; addresses come in as the servers start and the object manager answers."""

    def __init__(self, settings: RayletSettings, node_id: NodeId) -> None:
        self.node_id = node_id
        self.raylet_address = ""
        self.metrics_address = ""
        self._arena = object_manager_pb2.ArenaWelcome()
        self._settings = settings
        self._machine_id = machine_id()
        self._started_at = time.time()
        # Every worker that starts is told of its node: made again only when one of these has changed.
        self._made_from: tuple[object, ...] = ()
        self._made = common_pb2.NodeInfo()

    def set_object_manager(self, welcome: object_manager_pb2.ArenaWelcome) -> bool:
        """returns: whether anything that others see has changed."""
        changed = welcome != self._arena
        self._arena = welcome
        return changed

    def info(self) -> common_pb2.NodeInfo:
        """The entry as it is now; not to be changed, for the next caller gets the same message."""
        made_from = (self.node_id, self.raylet_address, self.metrics_address, self._arena)
        if made_from != self._made_from:
            self._made_from, self._made = made_from, self._make()
        return self._made

    def _make(self) -> common_pb2.NodeInfo:
        settings = self._settings
        metrics = {"raylet": self.metrics_address, "object_manager": self._arena.metrics_address}
        return common_pb2.NodeInfo(
            node_id=self.node_id,
            state=common_pb2.NodeInfo.ALIVE,
            raylet_address=self.raylet_address,
            flight_address=self._arena.flight_address,
            object_manager_address=self._arena.object_manager_address,
            hostname=platform.node(),
            machine_id=self._machine_id,
            socket_dir=settings.node_dir,
            session_dir=settings.session_dir,
            total=settings.total.to_proto(),
            labels=labels_of(settings, self.node_id),
            node_name=settings.node_name or settings.node_ip,
            is_head=settings.head,
            metrics={part: address for part, address in metrics.items() if address},
            started_at=self._started_at,
            version=_VERSION,
            ip_address=settings.node_ip,
        )
