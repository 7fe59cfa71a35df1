"""One random schedule: groups and actors come and go while machines, streams and leaders fail; then all heals."""

from __future__ import annotations

from tests.sim.placement.invariants import check_quiet, check_step, no_stray_is_forgotten
from tests.sim.placement.raylet import SimRaylet
from tests.sim.placement.world import World

STEPS = 40
HEALING_ROUNDS = 20
CLAIMED_ANEW_S = 200.0  # after so long every claim was chosen again
QUIET_LIMIT = 3_000  # steps that healing may take; more is a livelock
STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class Schedule:
    """Run with run(); a failure names the seed, and the same seed fails the same way."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.rng = self.world.rng
        self.story: list[str] = []

    def run(self, steps: int = STEPS) -> None:
        try:
            for raylet in self.world.raylets[: self.rng.randint(3, 8)]:
                self.world.attach(raylet)
            for _ in range(self.rng.randint(0, 6)):
                self._create()
            for _ in range(self.rng.randint(0, 4)):
                self._create_actor()
            if self.rng.random() < 0.8:
                self._drain()  # else the faults begin while these are being placed
            for _ in range(steps):
                self._step()
                check_step(self.world)
                no_stray_is_forgotten(self.world)
            self._heal()
            check_quiet(self.world)
        except Exception as error:
            told = "\n  ".join(self.story[-30:])
            raise AssertionError(
                f"seed {self.seed}: {error!r} after {len(self.story)} steps; replay it with "
                f"`python -m tests.sim.placement {self.seed}`; the last steps:\n  {told}"
            ) from error

    def _step(self) -> None:
        actions = [
            (60, self._deliver),
            (7, self._create),
            (3, self._remove),
            (6, self._create_actor),
            (3, self._kill_actor),
            (8, self._work),
            (5, self._use),
            (6, self._kill_machine),
            (3, self._stop_machine),
            (1, self._drain_machine),
            (4, self._return_machine),
            (4, self._cut_stream),
            (8, self._attach),
            (6, self._silence),
            (2, self._restart_gcs),
            (1, self._reconnect_client),
            (3, self._beat),
        ]
        (action,) = self.rng.choices([a for _, a in actions], [weight for weight, _ in actions])
        self.story.append(action.__name__.lstrip("_"))
        action()

    def _dies(self) -> str:
        return self.rng.choice(("before", "after")) if self.rng.random() < 0.02 else ""

    def _deliver(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            self._deliver_one()

    def _deliver_one(self) -> None:
        ready = [s for s in self.world.streams.values() if s.up or s.down]
        if not ready:
            return
        stream = self.rng.choice(ready)
        if stream.up and (not stream.down or self.rng.random() < 0.5):
            self.world.deliver_up(stream, self._dies(), self.rng.randint(1, 3))
        else:
            self.world.deliver_down(stream)

    def _create(self) -> None:
        bundles = [self.rng.choice((0.5, 1, 1, 2)) for _ in range(self.rng.randint(1, 3))]
        labels = ["L1", "L2"] if self.rng.random() < 0.3 else None
        self.world.create_group(bundles, self.rng.choice(STRATEGIES), labels, self._dies())

    def _remove(self) -> None:
        there = [group_id for group_id, state in self.world.wanted.items() if state == "there"]
        if there:
            self.world.remove_group(self.rng.choice(there), self._dies())

    def _create_actor(self) -> None:
        held = self.rng.choice((0, 0.5, 1, 1, 2))
        cpus = max(held, self.rng.choice((0.5, 1)))
        groups = self.world.groups()
        if groups and self.rng.random() < 0.5:
            self.world.create_actor(min(cpus, 1), min(held, 1), self.rng.choice(groups), dies=self._dies())
        else:
            self.world.create_actor(cpus, held, dies=self._dies())

    def _kill_actor(self) -> None:
        actors = self.world.actors()
        if actors:
            self.world.kill_actor(self.rng.choice(actors), self.rng.random() < 0.5, self._dies())

    def _work(self) -> None:
        """Processes come up, constructors return, processes crash."""
        raylet = self.rng.choice(self.world.raylets)
        if raylet.alive:
            self.rng.choice((raylet.bring_up, raylet.bring_up, raylet.construct, raylet.construct, raylet.crash))()
            self.world.collect(raylet)

    def _use(self) -> None:
        raylet = self.rng.choice(self.world.raylets)
        if not raylet.alive:
            return
        what = self.rng.randrange(4)
        if what == 0:
            raylet.want_lease(self.rng.choice((0.5, 1)))
        elif what == 1:
            groups = self.world.groups()
            if groups:
                raylet.want_lease(0.5, self.rng.choice(groups))
        elif what == 2:
            raylet.return_lease()
        else:
            raylet.bury_workers()
        self.world.collect(raylet)

    def _kill_machine(self) -> None:
        alive = [raylet for raylet in self.world.raylets if raylet.alive]
        if len(alive) > 2:
            self.world.kill(self.rng.choice(alive))

    def _stop_machine(self) -> None:
        """By a signal, or because it has drained."""
        alive = [raylet for raylet in self.world.raylets if raylet.alive]
        drained = [raylet for raylet in alive if raylet.core.drained]
        if len(alive) > 2:
            self.world.stop(self.rng.choice(drained or alive))

    def _drain_machine(self) -> None:
        attached = [stream.raylet for stream in self.world.streams.values() if stream.attached and stream.raylet.alive]
        if len(attached) > 2:
            self.world.drain(self.rng.choice(attached))

    def _return_machine(self) -> None:
        gone = [raylet for raylet in self.world.raylets if not raylet.alive]
        if gone:
            self.world.machine_returns(self.rng.choice(gone))

    def _cut_stream(self) -> None:
        if self.world.streams:
            self.world.cut(self.rng.choice(list(self.world.streams.values())))

    def _attach(self) -> None:
        away = [raylet for raylet in self.world.raylets if raylet.alive and self.world.stream_of(raylet) is None]
        if away:
            self.world.attach(self.rng.choice(away))

    def _silence(self) -> None:
        self.world.silence()

    def _restart_gcs(self) -> None:
        self.world.gcs_restarts()

    def _reconnect_client(self) -> None:
        self.world.client_reconnects()

    def _beat(self) -> None:
        raylet = self.rng.choice(self.world.raylets)
        if raylet.alive and self.world.stream_of(raylet) is not None:
            raylet.heartbeat()
            self.world.collect(raylet)

    def _heal(self) -> None:
        """No more faults: the dead are declared, the living attach, everything is delivered."""
        world = self.world
        self.story.append("heal")
        for round_ in range(HEALING_ROUNDS):
            for raylet in world.raylets:
                if raylet.alive and world.stream_of(raylet) is None:
                    world.attach(raylet)
            self._drain()
            if round_ < 2:  # the silent are declared dead, and come back as others
                world.silence()
                self._drain()
            check_step(world)
            news = [self._catch_up(raylet) for raylet in world.raylets if raylet.alive]
            if round_ >= 2 and not any(news):
                world.pass_time(CLAIMED_ANEW_S)
                self._drain()
                if not any(self._catch_up(raylet) for raylet in world.raylets if raylet.alive):
                    return
        raise AssertionError(f"still changing after {HEALING_ROUNDS} rounds")

    def _catch_up(self, raylet: SimRaylet) -> bool:
        """Processes come up and go, and what changed is told. returns: whether there was any of that."""
        raylet.bring_up(all_of_them=True)
        raylet.construct(all_of_them=True)
        raylet.bury_workers()
        news = raylet.has_news() or bool(raylet.out)
        if news:
            raylet.heartbeat()
        self.world.collect(raylet)
        return news

    def _drain(self) -> None:
        for _ in range(QUIET_LIMIT):
            ready = [s for s in self.world.streams.values() if s.up or s.down]
            if not ready:
                return
            stream = self.rng.choice(ready)
            if stream.up:
                self.world.deliver_up(stream)
            else:
                self.world.deliver_down(stream)
        raise AssertionError(f"not quiet after {QUIET_LIMIT} deliveries")
