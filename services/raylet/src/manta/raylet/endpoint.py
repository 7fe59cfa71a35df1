"""How a worker of this node is reached from another one: asked of it once, then remembered."""

from __future__ import annotations

from manta.common.ids import WorkerId
from manta.raylet.lease import ClientId

Asker = tuple[ClientId, int]


class EndpointTable:
    """worker -> host:port of its cross-node carrier, or those who wait to hear it."""

    def __init__(self) -> None:
        self._addresses: dict[WorkerId, str] = {}
        self._asking: dict[WorkerId, list[Asker]] = {}

    def wanted(self, worker_id: WorkerId, asker: Asker) -> str | None:
        """returns: the address; None when the asker has to wait."""
        address = self._addresses.get(worker_id)
        if address is None:
            self._asking.setdefault(worker_id, []).append(asker)
        return address

    def is_first(self, worker_id: WorkerId) -> bool:
        """Whether the worker has to be asked now; the later askers share its answer."""
        return len(self._asking.get(worker_id, ())) == 1

    def has_askers(self, worker_id: WorkerId) -> bool:
        return worker_id in self._asking

    def opened(self, worker_id: WorkerId, address: str) -> list[Asker]:
        """The worker answered. returns: who is to be told."""
        self._addresses[worker_id] = address
        return self._asking.pop(worker_id, [])

    def gone(self, worker_id: WorkerId) -> list[Asker]:
        """The worker died. returns: who is to be told that it has no address."""
        self._addresses.pop(worker_id, None)
        return self._asking.pop(worker_id, [])
