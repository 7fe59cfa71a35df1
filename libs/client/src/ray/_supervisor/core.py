"""When services start, start again and end: the supervisor's state machine, without processes or clock.

Times are seconds on any rising clock. Methods take what happened and return what to do, in order.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

RAYLET: Final = "raylet"


class Start(NamedTuple):
    service: str


class Terminate(NamedTuple):
    service: str


class Kill(NamedTuple):
    service: str


class Announce(NamedTuple):
    """All services are ready for the first time."""


class ReportFailure(NamedTuple):
    service: str
    reason: str


class Note(NamedTuple):
    """For the log."""

    event: str
    service: str
    detail: str


class Finish(NamedTuple):
    """Every service has ended: clean up and exit with this code."""

    code: int


Command = Start | Terminate | Kill | Announce | ReportFailure | Note | Finish


class Phase(Enum):
    STARTING = auto()  # not every service has been ready yet
    RUNNING = auto()
    STOPPING_RAYLET = auto()  # it needs the others to say goodbye, so it goes first
    STOPPING_REST = auto()
    ENDED = auto()


P = Phase
LEGAL: Final[Mapping[Phase, frozenset[Phase]]] = {
    P.STARTING: frozenset({P.RUNNING, P.STOPPING_RAYLET}),
    P.RUNNING: frozenset({P.STOPPING_RAYLET}),
    P.STOPPING_RAYLET: frozenset({P.STOPPING_REST}),
    P.STOPPING_REST: frozenset({P.ENDED}),
    P.ENDED: frozenset(),
}


class Backoff(NamedTuple):
    """Pauses before restarts: none before the first, then doubling; a long enough run is forgiven everything."""

    first_s: float = 0.1
    most_s: float = 5.0
    forgiven_after_s: float = 30.0

    def pause_s(self, failures: int) -> float:
        """failures: those before this one."""
        # Without the bound on the exponent, a service that fails for days would overflow a float.
        return 0.0 if failures == 0 else min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))


class _Service:
    __slots__ = ("alive", "failures", "ready", "restart_at", "started_at")

    def __init__(self) -> None:
        self.alive = False
        self.ready = False
        self.started_at = 0.0
        self.failures = 0
        self.restart_at: float | None = None


class Supervision:
    """One node's services.

    services: names in starting order; "raylet" is the one whose death ends the node.
    start_timeout_s: until all have been ready; grace_s: from SIGTERM to SIGKILL for the raylet, which has
    workers to end; the others then get half of it.
    """

    def __init__(
        self, services: Sequence[str], *, start_timeout_s: float, grace_s: float, backoff: Backoff | None = None
    ) -> None:
        if RAYLET not in services:
            raise ValueError(f"a node has a raylet; got only {', '.join(services) or 'nothing'}")
        self._services = {name: _Service() for name in services}
        self._start_timeout_s = start_timeout_s
        self._grace_s = grace_s
        self._backoff = backoff or Backoff()
        self.phase = Phase.STARTING
        self._deadline: float | None = None
        self._code = 0

    def begin(self, at: float) -> list[Command]:
        self._deadline = at + self._start_timeout_s
        return [self._start(name, at) for name in self._services]

    def ready(self, name: str, at: float) -> list[Command]:
        self._services[name].ready = True
        if self.phase is not Phase.STARTING or not all(service.ready for service in self._services.values()):
            return [Note("service_ready", name, "")]
        self._move(Phase.RUNNING)
        self._deadline = None
        return [Note("service_ready", name, ""), Announce()]

    def exited(self, name: str, status: int, at: float) -> list[Command]:
        """status: exit code, or minus the signal."""
        service = self._services[name]
        service.alive = service.ready = False
        note = Note("service_exited", name, describe(status))
        if self.phase is Phase.STARTING:
            return [note, *self._fail(name, f"{describe(status)} before it was ready", at)]
        if self.phase is not Phase.RUNNING:
            return [note, *self._advance(at)]
        if name == RAYLET:
            return [note, *self._fail(name, f"{describe(status)}; without it there is no node", at)]
        if at - service.started_at >= self._backoff.forgiven_after_s:
            service.failures = 0
        service.restart_at = at + self._backoff.pause_s(service.failures)
        service.failures += 1
        return [note, *self.tick(at)]

    def failed_to_start(self, name: str, reason: str, at: float) -> list[Command]:
        """No process could be made of a Start."""
        service = self._services[name]
        service.alive = False
        if self.phase is Phase.RUNNING and name != RAYLET:
            service.failures += 1
            service.restart_at = at + self._backoff.pause_s(service.failures)
            return [Note("service_start_failed", name, reason)]
        return self._advance(at) if self._stopping else self._fail(name, reason, at)

    def stop(self, reason: str, at: float) -> list[Command]:
        if self._stopping:
            return []
        return [Note("stop_requested", "", reason), *self._begin_stop(at)]

    def tick(self, at: float) -> list[Command]:
        """Do what is due."""
        commands: list[Command] = []
        if self.phase is Phase.RUNNING:
            for name, service in self._services.items():
                if service.restart_at is not None and service.restart_at <= at:
                    service.restart_at = None
                    commands.append(self._start(name, at))
        elif self._deadline is not None and self._deadline <= at:
            if self.phase is Phase.STARTING:
                late = [name for name, service in self._services.items() if not service.ready]
                return self._fail(late[0], f"not ready within {self._start_timeout_s:g} s (start_timeout_s)", at)
            self._deadline = None
            commands += [Kill(name) for name in self._alive_in_phase()]
        return commands

    def next_deadline(self) -> float | None:
        """When tick() is due next."""
        times = [service.restart_at for service in self._services.values() if service.restart_at is not None]
        if self._deadline is not None:
            times.append(self._deadline)
        return min(times, default=None)

    @property
    def _stopping(self) -> bool:
        return self.phase not in (Phase.STARTING, Phase.RUNNING)

    def _move(self, phase: Phase) -> None:
        if phase not in LEGAL[self.phase]:
            raise RuntimeError(f"supervision cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase

    def _start(self, name: str, at: float) -> Start:
        service = self._services[name]
        service.alive, service.ready, service.started_at = True, False, at
        return Start(name)

    def _fail(self, name: str, reason: str, at: float) -> list[Command]:
        self._code = 1
        return [ReportFailure(name, reason), *self._begin_stop(at)]

    def _begin_stop(self, at: float) -> list[Command]:
        for service in self._services.values():
            service.restart_at = None
        self._move(Phase.STOPPING_RAYLET)
        self._deadline = at + self._grace_s
        commands: list[Command] = [Terminate(name) for name in self._alive_in_phase()]
        return [*commands, *self._advance(at)]

    def _alive_in_phase(self) -> list[str]:
        first = self.phase is Phase.STOPPING_RAYLET
        return [name for name, service in self._services.items() if service.alive and (name == RAYLET) is first]

    def _advance(self, at: float) -> list[Command]:
        """Go on to the next phase when nothing of this one is left."""
        commands: list[Command] = []
        if self.phase is Phase.STOPPING_RAYLET and not self._alive_in_phase():
            self._move(Phase.STOPPING_REST)
            self._deadline = at + self._grace_s / 2
            commands += [Terminate(name) for name in self._alive_in_phase()]
        if self.phase is Phase.STOPPING_REST and not self._alive_in_phase():
            self._move(Phase.ENDED)
            self._deadline = None
            commands.append(Finish(self._code))
        return commands


def describe(status: int) -> str:
    """How a process ended, for people."""
    return f"killed by signal {-status}" if status < 0 else f"exited with code {status}"
