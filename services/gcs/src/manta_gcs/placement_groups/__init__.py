"""Placement groups.

Their states, the queue of those that wait, two-phase reservation of bundles, and deadlocks of groups.
`placement_group_manager` joins them; `bundle_use` knows what is left of a committed bundle.

Imports: kernel, jobs and nodes.
"""
