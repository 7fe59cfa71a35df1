"""Who has waited too long.

Claims on nodes for actors and groups that tasks keep from being placed, and notices to drivers. A claim keeps a
node's freed resources for the one that claimed them.

Imports: the tables below.
"""
