"""The nodes: which live, what they have free, which were promised what, and which of their workers have died.

`node` keeps the table, `placement_view` the index of it that actors and bundles are placed with.

Imports: kernel and jobs.
"""
