"""Ports that stay ours while the services that use them come and go."""

import errno
import os
import socket


class PortTaken(Exception):
    """The address cannot be used; the text names it and what to do."""


class ReservedPort:
    """A bound socket that never listens: with SO_REUSEADDR, as gRPC sets it too, a service can bind beside it.

    While it is open the kernel gives the port to nobody who asks for any free one, so that a service that is started
    again finds its address free. Only one socket at a time can listen: no two services ever share the port.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        """port: 0 takes any free one. raises: PortTaken, also when somebody listens there."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise PortTaken(_why(host, port, error)) from error
        number = self._socket.getsockname()[1]
        self.address = f"[{host}]:{number}" if family == socket.AF_INET6 else f"{host}:{number}"

    def close(self) -> None:
        self._socket.close()


def _why(host: str, port: int, error: OSError) -> str:
    where = f"{host}:{port}" if port else host
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use; stop what listens there (ray stop, if it is a node of yours) or choose another port"
    return f"cannot bind {where}: {os.strerror(error.errno or 0)}; --node-ip-address must be an address of this machine"
