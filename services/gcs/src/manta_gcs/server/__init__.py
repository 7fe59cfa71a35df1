"""The shell.

The replica that leads or follows, one leader's term, the inbox and outbox of messages, gRPC, metrics and settings. A
term writes a batch's records before it sends anything that the batch says.

Imports: everything else of the GCS.
"""
