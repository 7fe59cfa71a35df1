"""Threads and sockets at the lowest level: the reactor that reads all channels, who holds the reading token, latches.

Nothing here knows a message.

Imports: the standard library and manta_common.
"""
