"""The jobs of the cluster, the key-value table that they share, and the cluster's own identity.

Each is a table in memory whose changes are returned as commands that write them.

Imports: kernel.
"""
