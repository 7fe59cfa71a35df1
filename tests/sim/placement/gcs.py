"""A simulated GCS: the real core, its records in a dict, and leaders that die between any two steps of a commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from manta_gcs.core.core import GcsCore
from manta_gcs.core.loading import CoreOptions, load
from manta_gcs.kernel.commands import Answer, Close, Command, Forget, Note, Persist, StepDown, Tell
from manta_gcs.kernel.events import ClientAsked, Event, Moment
from manta_gcs.kernel.record import Key, Table
from manta_gcs.requests.client_request import ClientRequests
from manta_proto.gcs.v1 import gcs_pb2, records_pb2

DEATH_TIMEOUT_S = 5.0


class Records:
    """What a store holds; reads as the loader does."""

    def __init__(self) -> None:
        self.by_key: dict[Key, bytes] = {}

    def write(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Persist):
                self.by_key[command.key] = command.record.SerializeToString()
            elif isinstance(command, Forget):
                self.by_key.pop(command.key, None)

    async def table(self, table: Table) -> dict[str, records_pb2.StoredRecord]:
        return {
            key.id: records_pb2.StoredRecord.FromString(value)
            for key, value in self.by_key.items()
            if key.table is table
        }


class SimGcs:
    """One leader after the other on the same records. `send` and `answer` take what leaves."""

    def __init__(
        self,
        send: Callable[[int, gcs_pb2.GcsToNode], None],
        answer: Callable[[int, gcs_pb2.GcsReply], None],
        close: Callable[[int], None],
    ) -> None:
        self.records = Records()
        self.epoch = 0
        self._send, self._answer, self._close = send, answer, close
        self.core: GcsCore
        self.settles = 0
        self.noted: Counter[str] = Counter()  # lines of the log, by event

    def _handle(self, event: Event) -> list[Command]:
        return ClientRequests(self.core).handle(event) if isinstance(event, ClientAsked) else self.core.handle(event)

    def start(self, at: Moment) -> None:
        """A new leader: load, reconcile, serve."""
        self.epoch += 1
        options = CoreOptions(session_name="sim", death_timeout_s=DEATH_TIMEOUT_S, store_name="")
        self.core = _run(load(self.records, self.epoch, options, at))  # type: ignore[arg-type]
        self._commit([*self.core.begin(at), *self.core.settle(at)])

    def take(self, events: list[Event], at: Moment, dies: str = "") -> bool:
        """One batch. dies: "before" or "after" its records are written; then nothing leaves. returns: it lives."""
        commands = [command for event in events for command in self._handle(event)]
        commands += self.core.settle(at)
        self.settles += 1
        if dies == "before":
            return False
        if dies == "after":
            self.records.write(commands)
            return False
        self._commit(commands)
        return True

    def _commit(self, commands: list[Command]) -> None:
        self.records.write(commands)
        for command in commands:
            match command:
                case Tell(session=session, message=message):
                    self._send(session, message)
                case Answer(session=session, reply=reply):
                    self._answer(session, reply)
                case Close(session=session):
                    self._close(session)
                case Note(event=event):
                    self.noted[event] += 1
                case StepDown(reason=reason):
                    raise AssertionError(f"no other leader is there: {reason}")


def _run(coroutine: Coroutine[Any, Any, GcsCore]) -> GcsCore:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        core: GcsCore = done.value
        return core
    raise AssertionError("loading from a dict waits for nothing")
