"""Waits that last long are told in the log, once each, with what they wait for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LIMIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Wait:
    """identity: what makes two looks at it the same wait."""

    identity: tuple[object, ...]
    what: str
    reason: str


class Patience:
    """Bounded by what waits: a wait that is over is forgotten."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._since: dict[tuple[object, ...], float] = {}
        self._told: set[tuple[object, ...]] = set()

    def update(self, waits: Iterable[Wait], at: float) -> list[dict[str, object]]:
        """All that waits now. returns: the fields to log for those that have just passed the limit."""
        present = {wait.identity: wait for wait in waits}
        self._since = {identity: self._since.get(identity, at) for identity in present}
        self._told &= present.keys()
        news = []
        for identity, since in self._since.items():
            if at - since >= self._limit_s and identity not in self._told:
                self._told.add(identity)
                wait = present[identity]
                news.append({"what": wait.what, "reason": wait.reason, "waited_s": round(at - since, 1)})
        return news
