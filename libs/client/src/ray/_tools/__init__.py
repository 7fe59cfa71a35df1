"""Short-lived connections of command-line tools to the GCS and to raylets.

They need no runtime: each opens a channel, asks, and ends.
Imports: manta_common and manta_proto.
"""
