"""Who uses the arena: a number for each process that ever connected, never used again."""

from typing import NewType

ClientId = NewType("ClientId", int)


class NotAllowed(Exception):
    """A request that contradicts what this client did before; it is at fault and gets this text."""
