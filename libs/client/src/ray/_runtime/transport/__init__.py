"""Channels to peers, raylets and the GCS: sessions that outlive a connection, over Unix sockets, TCP or gRPC.

A frame is a kind and a payload; what it means is decided above.

Imports: loop, values and arena.
"""
