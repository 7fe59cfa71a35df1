"""What is joined when the raylet starts: settings, sockets, gRPC, metrics.

Nothing else reads flags or the environment.

Imports: everything else of the raylet.
"""
