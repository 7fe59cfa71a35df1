"""Requests for workers.

The queue, grants, spillback to better nodes, claims of the GCS, and protection from starvation. `lease_manager` joins
them over one ledger and one worker pool.

Imports: kernel, resources and workers.
"""
