"""The borrower's side: what we hold of other owners' objects, and what protects it until they count us.

A borrow begins SHIELDED: a task that we execute, or an object that we hold, keeps it alive. The thing that protects
is a shield. Before a shield ends, each borrow behind it is registered with its owner (ADDING, then HELD), or moves
behind the shield of what held the shield. LOST borrows have no owner to talk to.

A borrow behind the shield of an object that loses its last use rests there: its owner need not hear of it, and if the
object is read again, and with it the ref, nothing has to be made anew. It ends with the shield.

Sets that are iterated are dicts, for their order: the same events must give the same commands in every run.
"""

from collections.abc import Iterator
from enum import Enum, auto


class BorrowState(Enum):
    """How a borrowed object is kept alive."""

    SHIELDED = auto()  # by a task or an object of ours; its owner does not know us
    ADDING = auto()  # the owner was asked to count us; the shield that asked still waits
    HELD = auto()  # the owner counts us, or reads so in the reply that keeps it alive until then
    LOST = auto()  # the owner died or had freed it; final


LEGAL = {
    BorrowState.SHIELDED: {BorrowState.ADDING, BorrowState.HELD, BorrowState.LOST},  # HELD: named in a reply
    BorrowState.ADDING: {BorrowState.HELD, BorrowState.LOST},
    BorrowState.HELD: {BorrowState.LOST},
    BorrowState.LOST: set(),
}


class Shield:
    """Protects refs that came with a task or out of an object."""

    __slots__ = ("caller", "done", "inners", "source", "waits")

    def __init__(self, source: bytes, caller: bytes = b"") -> None:
        self.source = source  # the task or the object
        self.caller = caller  # who sent the task; empty for an object
        self.inners: dict[bytes, None] = {}  # SHIELDED borrows, in order of arrival
        self.done = False  # the task has ended; only its reply waits
        self.waits = 0  # requests that must be answered before it ends


class Request:
    """One Add under way."""

    __slots__ = ("counted", "holder", "number", "object_id", "owner", "request_id", "tag", "waiter")

    def __init__(
        self, owner: bytes, object_id: bytes, holder: bytes, tag: bytes, number: int, waiter: Shield | None
    ) -> None:
        self.owner = owner
        self.object_id = object_id
        self.holder = holder
        self.tag = tag
        self.number = number
        self.waiter = waiter
        self.request_id = 0
        self.counted = False  # it counts as a use of our own borrow


class Borrow:
    """What is known of an object of another owner beyond its local counts."""

    __slots__ = ("_state", "given", "number", "owner", "request", "shield")

    def __init__(self, owner: bytes) -> None:
        self.owner = owner
        self._state = BorrowState.SHIELDED
        self.number = 0  # of this borrow, once registered
        self.shield: Shield | None = None  # what protects it while SHIELDED
        self.request: Request | None = None  # while ADDING
        self.given: Shield | None = None  # what it protects: refs that we took out of its value

    @property
    def state(self) -> BorrowState:
        return self._state

    def move(self, state: BorrowState) -> None:
        """Go to another state.

        raises: RuntimeError for a move that is not legal; a bug of the counter.
        """
        if state not in LEGAL[self._state]:
            raise RuntimeError(f"a borrow cannot go from {self._state.name} to {state.name}; please report this bug")
        self._state = state
        self.request = None

    def protect(self, object_id: bytes, shield: Shield) -> None:
        """Put a SHIELDED borrow behind a shield, instead of the one before."""
        if self.shield is not None:
            self.shield.inners.pop(object_id, None)
        self.shield = shield
        shield.inners[object_id] = None

    def may_rest(self) -> bool:
        """Whether the borrow can stay although nothing here uses it."""
        shield = self.shield
        return shield is not None and not shield.caller and self.given is None

    def expose(self, object_id: bytes) -> None:
        """Take a borrow from behind its shield, if it has one."""
        if self.shield is not None:
            self.shield.inners.pop(object_id, None)
            self.shield = None


class OwnerPeer:
    """One process that owns what we borrow; kept until it dies."""

    __slots__ = ("borrowed", "drops", "requests", "taken")

    def __init__(self) -> None:
        self.borrowed: dict[bytes, None] = {}
        self.requests: dict[int, Request] = {}  # unanswered, by request id
        self.taken: dict[tuple[bytes, bytes], None] = {}  # (object, tag): container holds that replies gave us
        self.drops: dict[int, tuple[bytes, bytes]] = {}  # (object, tag) by request id: unanswered ends of those


class BorrowTable:
    """Our dealings with other owners, by owner; and tasks whose arguments protect refs."""

    def __init__(self) -> None:
        self.peers: dict[bytes, OwnerPeer] = {}
        self.tasks: dict[bytes, Shield] = {}
        # Questions about containers that a process made for us, which we cannot answer before we know of its death:
        # its reply may still be on the way to us. adder -> (asking owner, object, tag)
        self.questions: dict[bytes, dict[tuple[bytes, bytes, bytes], None]] = {}

    def peer(self, owner: bytes) -> OwnerPeer:
        """The record of an owner, made on first sight."""
        peer = self.peers.get(owner)
        if peer is None:
            peer = self.peers[owner] = OwnerPeer()
        return peer

    def totals(self) -> Iterator[tuple[str, int]]:
        """Sizes for state output and tests."""
        peers = self.peers.values()
        yield "borrowed_objects", sum(len(peer.borrowed) for peer in peers)
        yield "unanswered_adds", sum(len(peer.requests) for peer in peers)
        yield "unanswered_drops", sum(len(peer.drops) for peer in peers)
        yield "taken_containers", sum(len(peer.taken) for peer in peers)
        yield "shielding_tasks", len(self.tasks)
        yield "open_questions", sum(len(asked) for asked in self.questions.values())
