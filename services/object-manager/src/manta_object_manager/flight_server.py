"""The objects of this node for other nodes: Arrow Flight, DoGet only."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
from manta_common.credentials import TlsFiles, Token
from manta_common.ids import OBJECT_ID_SIZE, ObjectId
from manta_common.logs import get
from pyarrow import flight

from manta_object_manager.flight_credentials import CredentialCheck
from manta_object_manager.store import Store

# Small enough that a receiver copies it out of its cache, large enough that a message's overhead does not count.
CHUNK_BYTES: Final = 2 * 1024 * 1024
SIZE_KEY: Final = b"manta.size"
_SEAL_WAIT_S: Final = 10.0
_LOOP_ANSWER_S: Final = 30.0

_log = get("manta_object_manager")


class _TransferPin:
    """Hangs on the buffer that is sent; its end gives the pin back. It may end on any thread."""

    __slots__ = ("_release",)

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def __del__(self) -> None:
        self._release()


class FlightServer(flight.FlightServerBase):
    """Sends sealed objects straight from the arena: the stream is made in C++, no Python runs per chunk.

    A schema's metadata carries the object's size; its one column holds the bytes.
    """

    def __init__(
        self, listen: str, token: Token, tls: TlsFiles | None, store: Store, loop: asyncio.AbstractEventLoop
    ) -> None:
        security: dict[str, Any] = {}
        if tls is not None:
            ca, cert, key = tls.read()
            security = {"tls_certificates": [(cert, key)], "verify_client": True, "root_certificates": ca}
        scheme = "grpc+tls" if tls else "grpc+tcp"
        super().__init__(f"{scheme}://{listen}", middleware={"credentials": CredentialCheck(token)}, **security)
        self.sent_bytes = 0
        self._sent_lock = threading.Lock()
        self._store = store
        self._loop = loop

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.RecordBatchStream:
        object_id = ObjectId(ticket.ticket)
        if len(object_id) != OBJECT_ID_SIZE:
            raise pa.ArrowInvalid(f"a ticket is an object id of {OBJECT_ID_SIZE} bytes, not of {len(object_id)}")
        pinning = asyncio.run_coroutine_threadsafe(self._store.pin_for_transfer(object_id, _SEAL_WAIT_S), self._loop)
        try:
            entry = pinning.result(_LOOP_ANSWER_S)
        except TimeoutError:
            if pinning.cancel():
                raise flight.FlightUnavailableError("the object manager is overloaded; try another node") from None
            entry = pinning.result()
        if entry is None:
            raise pa.ArrowKeyError(f"object {object_id.hex()} is not on this node")
        pin = _TransferPin(lambda: self._release(object_id))
        schema = pa.schema([pa.field("bytes", pa.uint8(), nullable=False)], {SIZE_KEY: str(entry.size).encode()})
        data = self._store.memory.buffer(entry.range.offset, entry.size, pin)
        del pin
        array = pa.Array.from_buffers(pa.uint8(), entry.size, [None, data])
        with self._sent_lock:
            self.sent_bytes += entry.size
        return flight.RecordBatchStream(pa.table([array], schema=schema).to_reader(max_chunksize=CHUNK_BYTES))

    def _release(self, object_id: ObjectId) -> None:
        try:
            self._loop.call_soon_threadsafe(self._store.unpin_transfer, object_id)
        except RuntimeError:  # the loop has ended, and with it the arena
            _log.debug("transfer_outlived_the_loop", object_id=object_id.hex())
