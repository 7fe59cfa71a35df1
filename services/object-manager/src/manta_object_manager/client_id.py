"""Who uses the arena: a number for each process that ever connected, never used again."""

from typing import Final, NewType

ClientId = NewType("ClientId", int)

# Those that are no process: they pin what goes to other nodes, and what waiting tasks will ask for. What is received
# writes as the negative of its attempt.
TRANSFERS: Final = ClientId(0)
PREFETCHES: Final = ClientId(1)


class NotAllowed(Exception):
    """A request that contradicts what this client did before; it is at fault and gets this text."""
