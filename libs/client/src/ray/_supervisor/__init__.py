"""The supervisor of one node: starts, restarts and ends the node's services.

It imports nothing but the standard library, and its own modules only relatively, so that it can be started without
the site packages (see ray._node.local_node), in some 30 ms.
"""
