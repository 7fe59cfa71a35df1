"""The actors that live or start on this node, and the bundles that the GCS has it hold.

The GCS orders, the node answers by reports.

Imports: kernel, resources, workers and leases.
"""
