"""When the holders of leases are told that others wait."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from manta_raylet.kernel.lease import ClientId, Lease
from manta_raylet.leases.lease_queue import Entry, EntryId

PER_CLIENT_S: Final = 0.02


class ShortNotices:
    """Edge-triggered: told when a new request starts to wait, or when a lease is granted while others wait.

    A client that was told gives back every lease it held then as soon as that is idle, so no repeat is needed.
    """

    def __init__(self, per_client_s: float = PER_CLIENT_S) -> None:
        self._per_client_s = per_client_s
        self._waiting: set[EntryId] = set()
        self._told_at: dict[ClientId, float] = {}
        self._due: set[ClientId] = set()

    def update(self, short: Iterable[Entry], leases: Iterable[Lease], granted: set[ClientId]) -> None:
        """After each step of the core. granted: clients that got a lease in it."""
        entries = list(short)
        waiting = {entry.id for entry in entries}
        fresh = [entry for entry in entries if entry.id not in self._waiting]
        self._waiting = waiting
        if not entries:
            self._due.clear()
            return
        for lease in leases:
            news = entries if lease.client in granted else fresh
            if lease.client not in self._due and any(
                entry.request.client != lease.client or entry.key != lease.key for entry in news
            ):
                self._due.add(lease.client)

    def take(self, at: float) -> list[ClientId]:
        """Those to tell now; each at most once per interval."""
        # The same sum as in next_at: a difference may round to just below the interval at the very moment it names.
        ready = [client for client in self._due if at >= self._told_at.get(client, float("-inf")) + self._per_client_s]
        for client in ready:
            self._due.remove(client)
            self._told_at[client] = at
        return ready

    def next_at(self) -> float | None:
        """When `take` has somebody again; None while nobody is due."""
        return min((self._told_at[client] + self._per_client_s for client in self._due), default=None)

    def client_gone(self, client: ClientId) -> None:
        self._due.discard(client)
        self._told_at.pop(client, None)
