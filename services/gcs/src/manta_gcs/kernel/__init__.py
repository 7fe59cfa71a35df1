"""The words in which the GCS's core talks: events in, commands out, promises, and refusals of requests.

A record is a protobuf message under its key in the store. Everything above uses these values; nothing here knows a
table.

Imports: manta_common and manta_proto only.
"""
