"""Drivers and workers that are connected to this node: their frames, their logs, and the node that serves them.

`node` wraps the core and performs its commands.

Imports: everything below.
"""
