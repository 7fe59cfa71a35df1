"""Actors: their states and names, where each is placed, restarts, and who is told of changes.

`actor_manager` joins them; an actor in a placement group asks that group's bundles for room.

Imports: kernel, jobs, nodes and placement_groups.
"""
