"""The resources of one node, or of one bundle: who holds what, and what is free."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final

from manta_common.resources import CPU, GPU, UNIT, ResourceSet

# What a waiting worker lends. Never GPUs, memory or custom resources: what it keeps there cannot be moved away.
LENDABLE: Final = (CPU,)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one lease or actor holds. gpus: (index into the node's devices, amount in 1/10000) for each device."""

    number: int
    resources: ResourceSet
    gpus: tuple[tuple[int, int], ...] = ()


class Ledger:
    """Allocate and free in fixed point; lend the CPUs of waiting workers.

    Invariant: what is held (allocations without what they lend) plus what is available is the total. A worker that
    wakes takes its CPUs back at once, so the available CPUs may be negative; a request that needs a CPU then waits.
    """

    def __init__(self, total: ResourceSet, gpu_ids: Sequence[str] = ()) -> None:
        devices = total.get(GPU) // UNIT
        if total.get(GPU) % UNIT:
            raise ValueError(f"a node has whole GPUs, not {total.get(GPU) / UNIT}")
        if gpu_ids and len(gpu_ids) != devices:
            raise ValueError(f"{len(gpu_ids)} GPU ids were given for {devices} GPUs")
        self._open(total, tuple(gpu_ids) or tuple(str(index) for index in range(devices)))
        self._free_gpu: dict[int, int] = dict.fromkeys(range(devices), UNIT)
        self._numbers: Iterator[int] = itertools.count(1)

    @classmethod
    def inside(cls, outer: Ledger, reserved: Allocation) -> Ledger:
        """A ledger of what an allocation of `outer` holds, its devices included; no number is given out by both."""
        ledger = cls.__new__(cls)
        ledger._open(reserved.resources, outer.gpu_ids)
        ledger._free_gpu = dict(reserved.gpus)
        ledger._numbers = outer._numbers
        return ledger

    def _open(self, total: ResourceSet, gpu_ids: tuple[str, ...]) -> None:
        self.total = total
        self.gpu_ids = gpu_ids
        self._available = total
        self._held: dict[int, Allocation] = {}
        self._lent: set[int] = set()

    @property
    def available(self) -> ResourceSet:
        """What is free now; CPUs may be negative."""
        return self._available

    @property
    def allocations(self) -> int:
        """How many are held."""
        return len(self._held)

    @property
    def numbers(self) -> Set[int]:
        """Of all that is held."""
        return self._held.keys()

    @property
    def held(self) -> ResourceSet:
        """What allocations hold, without what they lend. cost: O(allocations)."""
        total = ResourceSet()
        for allocation in self._held.values():
            total = total + self._kept(allocation)
        return total

    def feasible(self, request: ResourceSet) -> bool:
        """Whether this node could hold the request if it were idle."""
        gpu = request.get(GPU)
        return self.total.covers(request) and (gpu <= UNIT or gpu % UNIT == 0)

    def can_allocate(self, request: ResourceSet) -> bool:
        """Whether `allocate` would succeed now."""
        return self._available.covers(request) and self._pick_gpus(request.get(GPU)) is not None

    def allocate(self, request: ResourceSet) -> Allocation | None:
        """Take the request, or None when it is not free now. A fraction of a GPU comes from one device."""
        if not self._available.covers(request):
            return None
        gpus = self._pick_gpus(request.get(GPU))
        if gpus is None:
            return None
        for index, amount in gpus:
            self._free_gpu[index] -= amount
        allocation = Allocation(next(self._numbers), request, gpus)
        self._available = self._available - request
        self._held[allocation.number] = allocation
        return allocation

    def free(self, number: int) -> None:
        """Give an allocation back. raises: KeyError when it is not held; a bug of the caller."""
        allocation = self._held[number]
        self._available = self._available + self._kept(allocation)
        del self._held[number]
        self._lent.discard(number)
        for index, amount in allocation.gpus:
            self._free_gpu[index] += amount

    def lend(self, number: int) -> bool:
        """The holder waits: its CPUs may serve others. returns: False when it lends them already."""
        allocation = self._held[number]
        if number in self._lent:
            return False
        self._lent.add(number)
        self._available = self._available + allocation.resources.only(*LENDABLE)
        return True

    def has_lent(self, number: int) -> bool:
        return number in self._lent

    def take_back(self, number: int) -> bool:
        """The holder runs again, now, whatever is free. returns: False when it lent nothing."""
        allocation = self._held[number]
        if number not in self._lent:
            return False
        self._lent.remove(number)
        self._available = self._available - allocation.resources.only(*LENDABLE)
        return True

    def devices_of(self, allocation: Allocation) -> tuple[str, ...]:
        """The GPU ids that an allocation may use, in the node's order."""
        return tuple(self.gpu_ids[index] for index, _ in allocation.gpus)

    def _kept(self, allocation: Allocation) -> ResourceSet:
        if allocation.number not in self._lent:
            return allocation.resources
        return allocation.resources - allocation.resources.only(*LENDABLE)

    def _pick_gpus(self, amount: int) -> tuple[tuple[int, int], ...] | None:
        """Devices for the amount: whole ones from 1 on; a fraction goes to the fullest device that has room."""
        if amount == 0:
            return ()
        if amount < UNIT:
            fitting = [(free, index) for index, free in self._free_gpu.items() if free >= amount]
            return ((min(fitting)[1], amount),) if fitting else None
        if amount % UNIT:
            return None
        whole = [index for index, free in self._free_gpu.items() if free == UNIT][: amount // UNIT]
        return tuple((index, UNIT) for index in whole) if len(whole) == amount // UNIT else None
