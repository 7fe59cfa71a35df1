"""Accepts connections on an event loop, whatever the kernel says meanwhile."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

# Until connections are accepted again that could not be for want of descriptors or memory; no event tells of either.
PAUSE_S: Final = 0.1
# At a time, so that others get their turn.
_ROUND: Final = 64

Protocols = Callable[[], asyncio.BaseProtocol]


class Acceptor:
    """Gives each connection of a listening socket a protocol of its own.

    The loops' own servers do worse when there is no descriptor: asyncio's logs without end, uvloop's hangs up on those
    who wait, or stops to listen. Here they wait in the backlog.
    """

    def __init__(self, listening: socket.socket, protocols: Protocols) -> None:
        """listening: bound; belongs to this from here on."""
        self._socket = listening
        self._protocols = protocols
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening. Connections that were accepted stay."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(_ROUND):
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                fields = {"at": str(self._socket.getsockname()), "reason": str(error), "again_in_s": PAUSE_S}
                logging.getLogger("manta.channel").warning("connections_not_accepted", extra={"fields": fields})
                self._loop.remove_reader(self._socket.fileno())
                self._pause = self._loop.call_later(PAUSE_S, self._look_again)
                return
            task = self._loop.create_task(self._open(sock), name="connection opens")
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _look_again(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket.fileno(), self._accept)

    async def _open(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            await self._loop.connect_accepted_socket(self._protocols, sock)
        except OSError as error:
            fields = {"reason": str(error)}
            logging.getLogger("manta.channel").warning("connection_not_opened", extra={"fields": fields})
            sock.close()
