"""Several nodes on one machine, for tests of programs that span nodes."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from manta_common.credentials import TlsFiles, Token
from manta_proto.common.v1 import common_pb2

from ray._node import LocalNode, NodeOptions, start_local
from ray._tools.gcs_tool import GcsTool

# Of upstream's node arguments, those that have a meaning here.
_OPTIONS: Final = frozenset(field.name for field in dataclasses.fields(NodeOptions))
_RENAMED: Final = {
    "node_ip_address": "node_ip",
    "_system_config": "system_config",
    "gcs_server_port": "gcs_port",
    "_temp_dir": "temp_dir",
    "node_ip": "node_ip",
}
# Accepted without effect: they concern parts that do not exist here.
_WITHOUT_EFFECT: Final = frozenset(
    {"include_dashboard", "dashboard_host", "dashboard_port", "redis_port", "ray_client_server_port", "fake_multi_node"}
)
_DEFAULT_OBJECT_STORE_BYTES: Final = 150 * 1024 * 1024
_NODE_LIST_PAUSE_S: Final = 0.02


class ClusterNode:
    """One node of a Cluster."""

    def __init__(self, local: LocalNode, *, head: bool) -> None:
        self.local = local
        self.head = head

    @property
    def node_id(self) -> str:
        """Hex digits, as ray.nodes() shows them."""
        return self.local.node_id.hex()

    @property
    def unique_id(self) -> str:
        return self.node_id

    @property
    def gcs_address(self) -> str:
        return self.local.gcs_address

    @property
    def address(self) -> str:
        return self.local.gcs_address

    @property
    def node_ip_address(self) -> str:
        return self.local.node_ip

    @property
    def session_dir(self) -> str:
        return self.local.session_dir

    def get_session_dir_path(self) -> str:
        return self.local.session_dir

    def get_logs_dir_path(self) -> str:
        return os.path.join(self.local.session_dir, "logs")

    def kill_raylet(self) -> None:
        """SIGKILL to the raylet: the node dies with its workers, object manager and arena."""
        self.local.kill_raylet()

    def kill_all_processes(self, allow_graceful: bool = False) -> None:
        self.local.stop() if allow_graceful else self.local.kill()

    def remaining_processes_alive(self) -> bool:
        """Whether the node runs; its supervisor keeps every service of it going."""
        return self.local.is_alive()

    any_processes_alive = remaining_processes_alive

    def __repr__(self) -> str:
        return f"ClusterNode({'head, ' if self.head else ''}{self.node_id[:8]})"


class Cluster:
    """Starts nodes as processes of this machine, each with its raylet, object manager, arena and session folder.

    initialize_head: start the head at once, with head_node_args. connect: ray.init() to it as well.
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: Mapping[str, Any] | None = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        if connect and not initialize_head:
            raise RuntimeError("Cluster(connect=True) needs initialize_head=True: there is nothing to connect to yet")
        self.head_node: ClusterNode | None = None
        self.worker_nodes: set[ClusterNode] = set()
        self.connected = False
        if shutdown_at_exit:
            atexit.register(self.shutdown)
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def gcs_address(self) -> str | None:
        return None if self.head_node is None else self.head_node.gcs_address

    @property
    def address(self) -> str | None:
        return self.gcs_address

    def connect(self, namespace: str | None = None) -> None:
        """ray.init() of this process, to this cluster."""
        import ray

        head = self._head()
        options = head.local.options
        credentials = {
            "MANTA_TOKEN_FILE": head.local.token_file,
            "MANTA_TLS_CA": options.tls_ca,
            "MANTA_TLS_CERT": options.tls_cert,
            "MANTA_TLS_KEY": options.tls_key,
        }
        # Only meanwhile: the next cluster of this process has others.
        before = {name: os.environ.get(name) for name in credentials}
        os.environ.update(credentials)
        try:
            ray.init(address=head.gcs_address, namespace=namespace, ignore_reinit_error=True)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
        self.connected = True

    def add_node(self, wait: bool = True, **node_args: Any) -> ClusterNode:
        """Start a node: the head if there is none, else one that joins it. Defaults: 1 CPU, 150 MiB of objects.

        wait: until the GCS lists it. raises: NodeStartError; TypeError naming an argument that is unknown.
        """
        options = {"num_cpus": 1, "object_store_memory": _DEFAULT_OBJECT_STORE_BYTES, **_translated(node_args)}
        if self.head_node is None:
            node = ClusterNode(start_local(NodeOptions(**options)), head=True)
            self.head_node = node
        else:
            head = self.head_node.local
            options.update(gcs_addresses=head.gcs_addresses, token=head.token)
            options.setdefault("node_ip", head.node_ip)
            for name in ("tls_ca", "tls_cert", "tls_key"):
                options.setdefault(name, getattr(head.options, name))
            node = ClusterNode(start_local(NodeOptions(**options)), head=False)
            self.worker_nodes.add(node)
        if wait:
            self._wait_until_listed(node, timeout_s=30.0)
        return node

    def remove_node(self, node: ClusterNode, allow_graceful: bool = True) -> None:
        """End a node: by a goodbye to the cluster, or at once as a crash would (allow_graceful=False)."""
        if node is not self.head_node and node not in self.worker_nodes:
            raise ValueError(f"{node!r} is not a node of this cluster, or was removed before")
        if self.head_node is node:
            self.head_node = None
        self.worker_nodes.discard(node)
        node.kill_all_processes(allow_graceful)

    def list_all_nodes(self) -> list[ClusterNode]:
        """The head first, then the others in no order."""
        return ([self.head_node] if self.head_node is not None else []) + list(self.worker_nodes)

    def wait_for_nodes(self, timeout: float = 30) -> None:
        """Wait until the GCS lists exactly the nodes of this object as alive.

        raises: TimeoutError naming how many it lists.
        """
        wanted = {node.local.node_id for node in self.list_all_nodes()}
        with self._tool() as gcs:
            deadline = time.monotonic() + timeout
            while (alive := _alive(gcs)) != wanted:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the GCS lists {len(alive)} of {len(wanted)} nodes after {timeout:g} s")
                time.sleep(_NODE_LIST_PAUSE_S)

    def remaining_processes_alive(self) -> bool:
        return all(node.remaining_processes_alive() for node in self.list_all_nodes())

    def shutdown(self) -> None:
        """End all nodes, the head last; idempotent."""
        if self.connected:
            import ray

            ray.shutdown()
            self.connected = False
        for node in [*self.worker_nodes, self.head_node]:
            if node is not None:
                self.remove_node(node)
        atexit.unregister(self.shutdown)

    def _head(self) -> ClusterNode:
        if self.head_node is None:
            raise RuntimeError("this cluster has no head; call add_node() first")
        return self.head_node

    def _tool(self) -> GcsTool:
        head = self._head().local
        options = head.options
        tls = TlsFiles.from_paths(options.tls_ca, options.tls_cert, options.tls_key)
        return GcsTool(head.gcs_addresses, Token(head.token), tls=tls)

    def _wait_until_listed(self, node: ClusterNode, timeout_s: float) -> None:
        # The raylet said that it was attached, so the first answer almost always has it.
        with self._tool() as gcs:
            deadline = time.monotonic() + timeout_s
            while node.local.node_id not in _alive(gcs):
                if time.monotonic() > deadline:
                    with contextlib.suppress(ValueError):
                        self.remove_node(node, allow_graceful=False)
                    raise TimeoutError(f"the GCS does not list node {node.node_id} after {timeout_s:g} s")
                time.sleep(_NODE_LIST_PAUSE_S)


# The GCS pushes its node table to raylets only, so a tool has to ask again.
def _alive(gcs: GcsTool) -> set[bytes]:
    return {item.info.node_id for item in gcs.nodes() if item.info.state != common_pb2.NodeInfo.DEAD}


def _translated(node_args: Mapping[str, Any]) -> dict[str, Any]:
    """Upstream's names to NodeOptions'. raises: TypeError."""
    options: dict[str, Any] = {}
    for name, value in node_args.items():
        name = _RENAMED.get(name, name)
        if name in _WITHOUT_EFFECT or value is None:
            continue
        if name not in _OPTIONS:
            raise TypeError(f"add_node() takes no argument {name!r}; known are {', '.join(sorted(_OPTIONS))}")
        options[name] = value
    return options
