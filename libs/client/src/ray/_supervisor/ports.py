"""Ports that stay ours while the services that use them come and go."""

import errno
import os
import socket


class PortTaken(Exception):
    """The address cannot be used; the text names it and what to do."""


class ReservedPort:
    """A bound socket that never listens: a service binds beside it by SO_REUSEPORT, as gRPC does by default.

    While it is open nobody else is given the port, so that a service that is started again finds its address free.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        """port: 0 takes any free one. raises: PortTaken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if port:
            self._refuse_taken(family, host, port)
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise PortTaken(_why(host, port, error)) from error
        number = self._socket.getsockname()[1]
        self.address = f"[{host}]:{number}" if family == socket.AF_INET6 else f"{host}:{number}"

    def close(self) -> None:
        self._socket.close()

    @staticmethod
    def _refuse_taken(family: int, host: str, port: int) -> None:
        # Another process of this user that listens with SO_REUSEPORT would share the port with us, and each
        # connection would go to one of the two. Without the option the kernel tells. SO_REUSEADDR: connections
        # that have just ended do not count.
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise PortTaken(_why(host, port, error)) from error


def _why(host: str, port: int, error: OSError) -> str:
    where = f"{host}:{port}" if port else host
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use; stop what listens there (ray stop, if it is a node of yours) or choose another port"
    return f"cannot bind {where}: {os.strerror(error.errno or 0)}; --node-ip-address must be an address of this machine"
