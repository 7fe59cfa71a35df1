"""Amounts of resources in fixed point, so that fractions of a device add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from manta_proto.common.v1 import common_pb2

UNIT: Final = 10_000
CPU: Final = "CPU"
GPU: Final = "GPU"
MEMORY: Final = "memory"
OBJECT_STORE_MEMORY: Final = "object_store_memory"


class ResourceSet(Mapping[str, int]):
    """An immutable bag of resources: name -> amount in 1/10000 of a unit. Zero amounts are left out.

    Subtraction may go below zero: a ledger that lent CPUs to a waking worker owes them.
    """

    __slots__ = ("_amounts", "_hash")

    def __init__(self, amounts: Mapping[str, int] | None = None) -> None:
        self._amounts = {name: amount for name, amount in (amounts or {}).items() if amount}
        self._hash: int | None = None

    @classmethod
    def from_floats(cls, amounts: Mapping[str, float]) -> ResourceSet:
        """Round to the nearest 1/10000. raises: ValueError naming an amount that is negative or not a number."""
        fixed: dict[str, int] = {}
        for name, amount in amounts.items():
            # `not >=` also catches NaN.
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount >= 0:
                raise ValueError(f"resource {name!r} must be a number >= 0, not {amount!r}")
            fixed[name] = round(amount * UNIT)
        return cls(fixed)

    @classmethod
    def from_proto(cls, message: common_pb2.Resources) -> ResourceSet:
        return cls(message.amounts)

    def to_proto(self) -> common_pb2.Resources:
        return common_pb2.Resources(amounts=self._amounts)

    def to_floats(self) -> dict[str, float]:
        return {name: amount / UNIT for name, amount in self._amounts.items()}

    def __getitem__(self, name: str) -> int:
        return self._amounts[name]

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]
        """The amount of `name`; what is not in the set is 0."""
        return self._amounts.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._amounts)

    def __len__(self) -> int:
        return len(self._amounts)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._amounts.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceSet) and self._amounts == other._amounts

    def __add__(self, other: ResourceSet) -> ResourceSet:
        total = dict(self._amounts)
        for name, amount in other._amounts.items():
            total[name] = total.get(name, 0) + amount
        return ResourceSet(total)

    def __sub__(self, other: ResourceSet) -> ResourceSet:
        rest = dict(self._amounts)
        for name, amount in other._amounts.items():
            rest[name] = rest.get(name, 0) - amount
        return ResourceSet(rest)

    def covers(self, request: ResourceSet) -> bool:
        """Whether every amount of `request` is here. cost: O(len(request))."""
        have = self._amounts
        return all(have.get(name, 0) >= amount for name, amount in request._amounts.items())

    def missing(self, request: ResourceSet) -> dict[str, int]:
        """What `request` needs beyond what is here: name -> missing amount."""
        have = self._amounts
        return {n: a - have.get(n, 0) for n, a in request._amounts.items() if have.get(n, 0) < a}

    def only(self, *names: str) -> ResourceSet:
        return ResourceSet({name: self._amounts[name] for name in names if name in self._amounts})

    def __repr__(self) -> str:
        return f"ResourceSet({self.to_floats()})"
