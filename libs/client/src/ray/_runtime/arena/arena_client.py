"""The node's arena, as a driver or worker uses it: create, seal, get, free. Thread-safe; connects when first used.

Blocking calls read the socket themselves and serve each other's replies. A runtime with an epoll of its own watches
the descriptor too: `on_connected(fd)` says when there is one, `on_readable()` reads without waiting, and
`on_disconnected(fd)` comes before it is closed. Both ways of reading are safe together.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from manta_proto.common.v1.common_pb2 import WorkerAddress
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from ray._runtime.arena.arena_call import Call
from ray._runtime.arena.arena_connection import ArenaConnection, HelloRefused, ProtocolError
from ray._runtime.arena.arena_errors import (
    ArenaAway,
    ArenaBusy,
    ArenaDisconnected,
    ArenaTimeout,
)
from ray._runtime.arena.arena_replies import dispatcher
from ray._runtime.arena.pins import Pinned
from ray._runtime.arena.writable import Writable

if TYPE_CHECKING:
    from google.protobuf.message import Message

log = logging.getLogger("ray.runtime")

_SAY_SO_S: Final = 30.0
_SAY_AWAY_S: Final = 2.0
_FIRST_RETRY_S: Final = 0.01
_LONGEST_RETRY_S: Final = 0.2

Callback = Callable[["Pinned | Exception"], None]
Owner = tuple[bytes, bytes]  # node id, worker id


class Garbage(Enum):
    """What is known of this process's garbage when it asks for room."""

    UNKNOWN = auto()  # nobody has looked
    NONE = auto()
    LET_GO = auto()  # references or views were in it, or others were asked for theirs: frees may follow


class ArenaClient:
    """One process's door to its node's object manager.

    path: its socket, of any length. hello: the bytes that say who we are, asked for when it connects. on_released:
    told, inside a destructor and on any thread, that the last view of an object ended; it may only append to a queue
    and wake somebody, who then calls flush(). on_extent: told, on any thread, that there is an extent: somebody is to
    call expire_extents() every now and then. on_garbage: asked, on the thread that reads, to collect this process's
    garbage soon and then to call collected() with the round that it is given. connect_timeout_s: how long a call waits
    for an object manager that is being started again.
    """

    def __init__(
        self,
        path: str,
        hello: Callable[[], bytes],
        *,
        on_released: Callable[[bytes], None] | None = None,
        on_connected: Callable[[int], None] | None = None,
        on_disconnected: Callable[[int], None] | None = None,
        on_extent: Callable[[], None] | None = None,
        on_garbage: Callable[[int], None] | None = None,
        connect_timeout_s: float = 30.0,
    ) -> None:
        self.path = path
        self.on_released = on_released
        self.on_connected = on_connected
        self.on_disconnected = on_disconnected
        self.on_extent = on_extent
        self.on_garbage = on_garbage
        self._hello = hello
        self._connect_timeout_s = connect_timeout_s
        self._connection: ArenaConnection | None = None
        self._connecting = threading.Lock()
        self._numbers = itertools.count(1)
        self._unusable = ""

    def create(
        self, object_id: bytes, size: int, owner: Owner | None = None, garbage: Garbage = Garbage.UNKNOWN
    ) -> Writable | None:
        """Reserve `size` bytes; the Writable is to be sealed or aborted.

        garbage: of this process; once that was collected, the node's other processes are to do so too.

        returns: None when the object is sealed here already, by an earlier attempt of its task.
        raises: ArenaFull naming the sizes, ArenaDisconnected, ArenaAway.
        """
        connection = self._connected()
        call = self._call(connection, object_id)
        request = pb.Create(
            request_id=call.request_id,
            object_id=object_id,
            size=size,
            owner=_address(owner),
            collect=garbage is not Garbage.UNKNOWN,
            let_go=garbage is Garbage.LET_GO,
        )
        reply: pb.Created = self._answer(connection, call, pb.CREATE, request, None)
        return None if reply.exists else Writable(connection, object_id, size, reply.offset)

    def writable(self, object_id: bytes, size: int, owner: Owner) -> Writable | None:
        """As create, but without a round trip when this process holds an extent with room.

        An object that is here already, by an earlier attempt of its task, is then written once more: see Seal.
        """
        connection = self._connected()
        writable = connection.extents.writable(object_id, size, WorkerAddress(node_id=owner[0], worker_id=owner[1]))
        return self.create(object_id, size, owner) if writable is None else writable

    def get(
        self,
        object_id: bytes,
        node_ids: Sequence[bytes] = (),
        owner: Owner | None = None,
        timeout: float | None = None,
        garbage: Garbage = Garbage.UNKNOWN,
    ) -> Pinned:
        """Pin the object, brought here from one of the nodes if need be. timeout: seconds, None for ever.

        garbage: as in create.

        raises: ArenaTimeout, ObjectNotFound with lost_at, ArenaFull, ArenaDisconnected, ArenaAway.
        cost: no round trip while this process has a pin of it.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            connection = self._connected(timeout)
        except ArenaAway as error:
            if timeout is not None and timeout < self._connect_timeout_s:
                raise ArenaTimeout(f"object {object_id.hex()} was not here within {timeout} s: {error}") from error
            raise
        pin = connection.mapping.find(object_id)
        if pin is None and connection.pending:  # asked for ahead, perhaps
            connection.read_available(dispatcher(connection))
            pin = connection.mapping.find(object_id)
        if pin is not None:
            return pin
        call = self._call(connection, object_id)
        request = pb.Get(
            request_id=call.request_id,
            object_id=object_id,
            node_ids=node_ids,
            owner=_address(owner),
            collect=garbage is not Garbage.UNKNOWN,
        )
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        pinned: Pinned = self._answer(connection, call, pb.GET, request, left)
        return pinned

    def get_async(
        self, object_id: bytes, node_ids: Sequence[bytes], owner: Owner | None, callback: Callback, flush: bool = True
    ) -> int:
        """As get, but returns at once; callback(Pinned or the exception) runs on the thread that reads the reply.

        Returns a number for cancel(), 0 when the callback ran already. Somebody must read: see on_readable.
        """
        try:
            connection = self._connected(wait_s=0.0)
        except ArenaDisconnected as error:
            callback(error)
            return 0
        pin = connection.mapping.find(object_id)
        if pin is not None:
            callback(pin)
            return 0
        call = self._call(connection, object_id, callback)
        if call.done:
            return 0
        request = pb.Get(request_id=call.request_id, object_id=object_id, node_ids=node_ids, owner=_address(owner))
        connection.queue(pb.GET, request)
        if flush:
            self.flush()  # a broken connection ends its calls, so the callback is told
        return call.request_id

    def cancel(self, number: int) -> None:
        """Give a get_async up; its callback is not called any more unless it is being called now."""
        connection = self._connection
        if connection is not None and connection.pending.pop(number, None) is not None:
            self._send_quietly(connection, pb.GET_CANCELLED, pb.GetCancelled(request_id=number))

    def withdraw(self, object_id: bytes) -> bool:
        """From the owner: nobody refers to a stored object any more. Whether nobody need hear of it either.

        That is so when it lies in an extent and its SEAL has not left: its range is free at once, for our next object.
        """
        connection = self._connection
        if connection is None or connection.mapping.is_pinned(object_id):
            return False
        news = connection.mapping.outbox.withdraw(object_id)
        if news is not None:
            connection.extents.taken_back(news.part)
        return news is not None

    def free(
        self, items: Iterable[tuple[bytes, Iterable[bytes]]], elsewhere: Iterable[tuple[bytes, Iterable[bytes]]] = ()
    ) -> None:
        """From the owner: nobody refers to these objects any more, here and at their other nodes.

        elsewhere: objects of which only the copies at those nodes go.
        raises: ArenaDisconnected when there is no object manager now. No answer is waited for.
        """
        request = pb.Free(items=[pb.Free.Item(object_id=object_id, node_ids=nodes) for object_id, nodes in items])
        for object_id, nodes in elsewhere:
            request.items.add(object_id=object_id, node_ids=nodes, only_there=True)
        if request.items:
            self._connected(wait_s=0.0).send(pb.FREE, request)

    def collected(self, number: int, let_go: bool) -> None:
        """Answer on_garbage: what was in the garbage has been told. let_go: whether references or views were."""
        connection = self._connection
        if connection is not None:
            self._send_quietly(connection, pb.GARBAGE_COLLECTED, pb.GarbageCollected(round=number, let_go=let_go))

    def describe(self, *, with_objects: bool = False) -> pb.DescribeReply:
        """What the arena holds. raises: ArenaDisconnected."""
        connection = self._connected()
        call = self._call(connection, b"")
        request = pb.DescribeRequest(request_id=call.request_id, with_objects=with_objects)
        reply: pb.DescribeReply = self._answer(connection, call, pb.DESCRIBE, request, None)
        return reply

    # ---- for the runtime

    @property
    def size(self) -> int:
        """Of the arena, bytes; 0 while not connected. Never waits."""
        connection = self._connection
        return 0 if connection is None else connection.welcome.size

    @property
    def welcome(self) -> pb.ArenaWelcome:
        """Addresses and size, as the object manager told; connects if need be."""
        return self._connected().welcome

    def reading_here(self) -> bool:
        """Whether this thread is in the middle of reading: a finalizer that runs there must not wait for the arena."""
        connection = self._connection
        return connection is not None and connection.reading_here()

    def fileno(self) -> int:
        """The socket's descriptor, -1 while not connected."""
        connection = self._connection
        return -1 if connection is None or connection.problem is not None else connection.fd

    def on_readable(self, events: int = 0) -> None:
        """Dispatch what has arrived, without waiting, and send what is queued."""
        connection = self._connection
        if connection is None:
            return
        connection.read_available(dispatcher(connection))
        self.flush()

    def flush(self) -> None:
        """Send releases that destructors queued."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.flush()
        except ArenaDisconnected:
            pass  # nobody holds pins for us any more
        connection.close_if_broken()

    def has_unsent(self) -> bool:
        """Whether anything waits for a flush."""
        connection = self._connection
        return connection is not None and connection.problem is None and bool(connection.mapping.outbox)

    def expire_extents(self) -> bool:
        """Give extents back that were not used of late. returns: whether there are others, to be looked at again."""
        connection = self._connection
        if connection is None:
            return False
        more = connection.extents.expire()
        self.flush()
        return more

    def holds_extents(self) -> bool:
        """Whether there are extents to expire."""
        connection = self._connection
        return connection is not None and connection.extents.holds

    def close(self) -> None:
        """End the connection. Views stay valid: while there are any, the socket lives on and tells when they end."""
        with self._connecting:
            self._unusable = self._unusable or "the arena client is closed; call ray.init() first"
            connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.leave_epoll()
        connection.extents.close()
        connection.end_calls(ArenaDisconnected("the arena client was closed meanwhile"))
        try:
            connection.flush()
        except ArenaDisconnected:
            return
        mapping = connection.mapping
        mapping.on_released = None
        mapping.on_last = connection.say_farewell
        if not mapping.pins:
            connection.say_farewell()

    def drop_in_child(self) -> None:
        """In a forked child: forget the connection without a word. Inherited views stay readable."""
        self._unusable = "the arena cannot be used in a process that user code forked; use tasks or actors"
        connection, self._connection = self._connection, None
        # Another thread of the parent may have held it.
        self._connecting = threading.Lock()
        if connection is not None:
            connection.problem = ArenaDisconnected(self._unusable)
            connection.socket.close()

    def _connected(self, wait_s: float | None = None) -> ArenaConnection:
        """The connection, made anew when there is none: the object manager may be being started again.

        wait_s: how long to try, at most connect_timeout_s; 0: once. raises: ArenaDisconnected, ArenaAway.
        """
        connection = self._connection
        if connection is not None and connection.problem is None:
            return connection
        limit_s = self._connect_timeout_s if wait_s is None else min(wait_s, self._connect_timeout_s)
        started = time.monotonic()
        say_so_s = _SAY_AWAY_S
        delay = _FIRST_RETRY_S
        while True:
            try:
                return self._connect()
            except ArenaDisconnected:
                raise  # for good
            except (OSError, ProtocolError) as error:
                waited_s = time.monotonic() - started
                if waited_s + delay > limit_s:
                    kind = ArenaBusy if isinstance(error, BlockingIOError) else ArenaAway
                    raise kind(
                        f"no object manager has answered at {self.path} for {waited_s:.1f} s ({error}); is the node's "
                        "session still running?"
                    ) from error
                if waited_s >= say_so_s:
                    log.warning(
                        "waiting_for_object_manager path=%s waited_s=%.0f at_most_s=%.0f reason=%s",
                        *(self.path, waited_s, limit_s, error),
                    )
                    say_so_s *= 2
            time.sleep(delay)  # backoff: nothing tells when it serves again
            delay = min(2 * delay, _LONGEST_RETRY_S)

    def _connect(self) -> ArenaConnection:
        """Try once, unless another thread does. raises: OSError, ProtocolError; ArenaDisconnected for good."""
        if not self._connecting.acquire(blocking=False):
            raise BlockingIOError("another thread is connecting")
        try:
            connection = self._connection
            if connection is not None and connection.problem is None:
                return connection
            if self._unusable:
                raise ArenaDisconnected(self._unusable)
            self._connection = None
            if connection is not None:
                connection.close()
            try:
                connection = ArenaConnection(self.path, self._hello())
            except (HelloRefused, PermissionError) as error:
                raise ArenaDisconnected(f"object manager at {self.path}: {error}") from error
            connection.mapping.on_released = self.on_released
            connection.extents.on_held = self.on_extent
            connection.on_garbage = self.on_garbage
            self._connection = connection
        finally:
            self._connecting.release()
        if self.on_connected is not None:
            # Another thread may use it already, and find it broken.
            connection.enter_epoll(self.on_connected, self.on_disconnected)
        return connection

    def _call(self, connection: ArenaConnection, object_id: bytes, callback: Callback | None = None) -> Call:
        call = Call(next(self._numbers), object_id, callback)
        connection.begin(call)
        return call

    def _answer(
        self, connection: ArenaConnection, call: Call, kind: int, request: Message, timeout: float | None
    ) -> Any:
        started = time.monotonic()
        deadline = None if timeout is None else started + timeout
        dispatch = dispatcher(connection)
        try:
            if not call.done:
                connection.send(kind, request)
            while not connection.wait(call, deadline, dispatch, _SAY_SO_S):
                now = time.monotonic()
                if deadline is not None and now >= deadline:
                    raise ArenaTimeout(f"object {call.object_id.hex()} was not here within {timeout} s")
                log.warning("waiting_for_arena object_id=%s waited_s=%.0f", call.object_id.hex(), now - started)
        except BaseException:
            self._abandon(connection, call, kind)
            raise
        result, call.result = call.result, None
        if isinstance(result, Exception):
            connection.close_if_broken()
            try:
                raise result
            finally:
                # Or error, traceback and this frame would be a cycle, and keep what our callers hold: a pin, say.
                del result
        return result

    def _abandon(self, connection: ArenaConnection, call: Call, kind: int) -> None:
        call.abandoned = True
        if kind == pb.GET and connection.pending.pop(call.request_id, None) is not None:
            self._send_quietly(connection, pb.GET_CANCELLED, pb.GetCancelled(request_id=call.request_id))
        elif kind == pb.CREATE and call.done and isinstance(call.result, pb.Created) and not call.result.exists:
            self._send_quietly(connection, pb.ABORT, pb.Abort(object_id=call.object_id))
        connection.close_if_broken()

    def _send_quietly(self, connection: ArenaConnection, kind: int, message: Message) -> None:
        try:
            connection.send(kind, message)
        except ArenaDisconnected:
            connection.close_if_broken()  # there is nobody to whom this would matter


def _address(owner: Owner | None) -> WorkerAddress | None:
    return None if owner is None else WorkerAddress(node_id=owner[0], worker_id=owner[1])
