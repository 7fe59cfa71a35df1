"""The core of one node: joins leases, actors, bundles and workers; events in, commands out.

`long_wait_log` says what has waited for over 30 seconds, and for what.

Imports: everything below; no clock, socket or process.
"""
