"""Nodes of this machine: starting and ending them, finding the cluster to join."""

from ray._node.address import ClusterAddress, find_address
from ray._node.local_node import LocalNode, NodeStartError, start_local
from ray._node.options import NodeOptions

__all__ = ["ClusterAddress", "LocalNode", "NodeOptions", "NodeStartError", "find_address", "start_local"]
