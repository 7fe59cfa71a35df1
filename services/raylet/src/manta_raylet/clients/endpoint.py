"""How a worker of this node is reached from another one: asked of it once for each carrier, then remembered."""

from __future__ import annotations

from typing import Final

from manta_common.ids import WorkerId

from manta_raylet.kernel.lease import ClientId

Asker = tuple[ClientId, int]
TCP: Final = "tcp://"


class EndpointTable:
    """(worker, whether by TCP) -> the address of that carrier, or those who wait to hear it."""

    def __init__(self) -> None:
        self._addresses: dict[tuple[WorkerId, bool], str] = {}
        self._asking: dict[tuple[WorkerId, bool], list[Asker]] = {}

    def wanted(self, worker_id: WorkerId, asker: Asker, *, tcp: bool) -> str | None:
        """returns: the address; None when the asker has to wait."""
        address = self._addresses.get((worker_id, tcp))
        if address is None:
            self._asking.setdefault((worker_id, tcp), []).append(asker)
        return address

    def is_first(self, worker_id: WorkerId, *, tcp: bool) -> bool:
        """Whether the worker has to be asked now; the later askers share its answer."""
        return len(self._asking.get((worker_id, tcp), ())) == 1

    def asked_for(self, worker_id: WorkerId) -> list[bool]:
        """Carriers of the worker that somebody waits for: whether by TCP."""
        return [tcp for tcp in (True, False) if (worker_id, tcp) in self._asking]

    def opened(self, worker_id: WorkerId, address: str) -> list[Asker]:
        """The worker answered. returns: who is to be told.

        Whoever asked for TCP can also do gRPC, and a worker of a minor version behind has nothing else.
        """
        tcp = address.startswith(TCP)
        self._addresses[worker_id, tcp] = address
        told = self._asking.pop((worker_id, tcp), [])
        return told if tcp else told + self._asking.pop((worker_id, True), [])

    def gone(self, worker_id: WorkerId) -> list[Asker]:
        """The worker died. returns: who is to be told that it has no address."""
        told: list[Asker] = []
        for tcp in (True, False):
            self._addresses.pop((worker_id, tcp), None)
            told += self._asking.pop((worker_id, tcp), [])
        return told
