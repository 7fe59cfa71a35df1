"""A task or actor call that this process submitted and whose result is not known yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ray._runtime.generators.generator_stream import WINDOW
from ray._runtime.values.wire import LAST_ATTEMPT, attempt_field, item_id, items_arrived_field

if TYPE_CHECKING:
    from ray._runtime.api import TaskOptions
    from ray._runtime.generators.generator_replay import GeneratorReplay
    from ray._runtime.generators.generators import GeneratorCall
    from ray._runtime.specs.definitions import Definition
    from ray._runtime.specs.task_kind import TaskKind
    from ray._runtime.tasks.lease_manager import SchedulingKey
    from ray._runtime.transport.carrier import Peer


class Timing:
    """How long a function runs, seen from its owner: what the pipelining window is computed from.

    Source: the window rule of the design, clamp(2 ms / moving average, 1, 256), and 1 after a failure or a recent run
    over ten times the average or over 2 ms.
    """

    __slots__ = ("average_us", "longest_us", "window")

    def __init__(self) -> None:
        self.average_us = 0.0
        self.longest_us = 0.0
        self.window = 1

    def ran(self, execution_us: int) -> None:
        before = self.average_us or float(execution_us)
        self.average_us = average = before + 0.1 * (execution_us - before)
        # The longest recent run fades, so that one slow start does not count for ever.
        self.longest_us = max(float(execution_us), self.longest_us * 0.98)
        # Beside the average without this run: a run is never ten times an average of which it is a tenth.
        if self.longest_us > 2000.0 or (self.longest_us > 10.0 * min(before, average) and self.longest_us > 200.0):
            self.window = 1
        else:
            self.window = min(256, max(1, int(2000.0 / max(average, 1.0))))

    def failed(self) -> None:
        self.average_us = 0.0
        self.window = 1


class Trial(NamedTuple):
    """An attempt whose results are not taken. next_item: of a generator, the first that had not arrived.

    replied: it stores no more.
    """

    peer: Peer
    next_item: int
    replied: bool


class TaskRecord:
    """`message` is the serialized worker.v1.Task; `held` are the refs in its arguments, counted as submitted."""

    __slots__ = (
        "actor_id",
        "attempt",
        "cancelled",
        "created_at",
        "deferred",
        "definition",
        "generator",
        "group",
        "held",
        "kept",
        "key",
        "kind",
        "lease_id",
        "message",
        "missing",
        "name",
        "num_returns",
        "options",
        "parent",
        "parent_id",
        "queued_at",
        "retries_left",
        "retry_exceptions",
        "sent_at",
        "sent_to",
        "sequence",
        "task_id",
        "timing",
        "told",
        "tried_at",
    )

    def __init__(
        self,
        task_id: bytes,
        name: str,
        num_returns: int,
        definition: Definition | None,
        options: TaskOptions | None,
        timing: Timing,
        retries_left: int,
    ) -> None:
        self.task_id = task_id
        self.name = name
        self.num_returns = num_returns
        self.definition = definition
        self.options = options
        self.timing = timing
        self.retries_left = retries_left
        # Which errors of the user's code are worth another attempt: all, none, or those of some classes.
        self.retry_exceptions: bool | tuple[type[BaseException], ...] = (
            options.retry_exceptions if options is not None else False
        )
        self.attempt = 0
        self.message = b""
        # The task that submitted it; empty in a driver.
        self.parent = b""
        self.held: tuple[bytes, ...] = ()
        # Its specification is part of the lineage: see recovery.py.
        self.kept = False
        self.missing = 0
        # The queue that it waits in, or was sent from.
        self.key: SchedulingKey | None = None
        self.lease_id: bytes | None = None
        # Attempts that died, or were given up.
        self.tried_at: tuple[Trial, ...] = ()
        self.actor_id = b""
        # The concurrency group of an actor's call.
        self.group = ""
        self.sequence = 0
        self.cancelled = False
        self.generator: GeneratorCall | GeneratorReplay | None = None
        # It is done, and its reply waits at the worker for owners of refs in it.
        self.deferred = False

        # What the state tables show: see task_events.py. kind: None when nothing is told of this task.
        self.kind: TaskKind | None = None
        self.parent_id = b""
        self.created_at = self.queued_at = self.sent_at = 0.0
        self.sent_to: Peer | None = None
        # Attempt and state as last told, 0: not yet.
        self.told = 0

    def return_ids(self) -> list[bytes]:
        task_id = self.task_id
        return [task_id + index.to_bytes(4, "little") for index in range(1, self.num_returns + 1)]

    def shown_name(self) -> str:
        """The name by which its user knows it: the one given, else that of the function, or of class and method."""
        if self.options is None or self.options.name:
            return self.name
        return self.name.rpartition(".")[2]

    def may_retry(self) -> bool:
        return self.retries_left != 0 and not self.cancelled

    def died_at(self, peer: Peer) -> None:
        """Its worker died, or will answer no more; it may have stored some of the results before."""
        self.timing.failed()
        self.tried(peer, replied=False)

    def tried(self, peer: Peer, *, replied: bool) -> None:
        """An attempt there may have left results that are not taken."""
        next_item = self.generator.stream.arrived if self.generator is not None else 0
        self.tried_at += (Trial(peer, next_item, replied),)

    def made_by(self, trial: Trial) -> list[bytes]:
        """The objects that this attempt may have stored and not told of."""
        if self.generator is None:
            return self.return_ids()
        first = trial.next_item
        # It never goes further ahead of what the caller has told it.
        return [*self.return_ids(), *(item_id(self.task_id, index) for index in range(first, first + WINDOW + 1))]

    def next_attempt(self) -> None:
        """Use a retry. The message is not built again: of a field that occurs twice the last one counts."""
        if self.retries_left > 0:
            self.retries_left -= 1
        self.attempt += 1
        self.lease_id = None
        self.message += self.attempt_fields()
        if self.retries_left == 0:
            self.message += LAST_ATTEMPT

    def attempt_fields(self) -> bytes:
        """What an attempt after the first adds to the message."""
        if self.generator is None:
            return attempt_field(self.attempt)
        return attempt_field(self.attempt) + items_arrived_field(self.generator.stream.attempted())


def split_started(tasks: list[TaskRecord]) -> tuple[list[TaskRecord], list[TaskRecord]]:
    """What a dead worker may have started, and what it surely has not.

    tasks: those without a reply, in the order they were sent. Before a task on its last attempt the worker sends the
    replies of all before it, so such a task was started only if it is the first here that is not known to be done.
    Others count as started: it costs them one of their retries.
    """
    done = [task for task in tasks if task.deferred]
    waiting = [task for task in tasks if not task.deferred]
    unstarted = [task for task in waiting[1:] if task.retries_left == 0]
    return [*done, *waiting[:1], *(task for task in waiting[1:] if task.retries_left != 0)], unstarted
