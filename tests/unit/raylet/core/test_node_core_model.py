"""Any order of events leaves the core consistent: nothing is held by nobody, nothing is granted twice."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from manta_common.ids import WorkerId
from manta_raylet.kernel.commands import KillWorker, StartWorker
from manta_raylet.workers.worker_table import WorkerState

from tests.unit.raylet.core_driver import JOB, CoreDriver, actor, client

CLIENTS = st.integers(1, 3)
RESOURCES = st.sampled_from([{"CPU": 1}, {"CPU": 0.5}, {"CPU": 2}, {"CPU": 0}, {"GPU": 0.5}, {"GPU": 1, "CPU": 1}])


class NodeCoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.driver = CoreDriver(cpu=2, GPU=1)
        self.started: list[WorkerId] = []
        self.granted: set[bytes] = set()
        self.actors = 0

    def settle(self) -> None:
        commands = self.driver.settle()
        self.started += [command.worker_id for command in commands if isinstance(command, StartWorker)]
        for lease in self.driver.grants():
            assert lease.id not in self.granted
            self.granted.add(lease.id)
        for command in commands:
            if isinstance(command, KillWorker) and command.worker_id not in self.started:
                self.die(command.worker_id)

    def die(self, worker_id: WorkerId) -> None:
        worker = self.driver.core.worker(worker_id)
        if worker is not None:
            self.driver.core.worker_died(worker, -9, [], self.driver.now)
            self.driver.core.client_gone(worker_id, self.driver.now)

    def pick(self, data: st.DataObject, *states: WorkerState) -> WorkerId | None:
        found = [worker.id for worker in self.driver.core.pool.table if worker.state in states]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(who=CLIENTS, number=st.integers(1, 2), backlog=st.integers(0, 4), resources=RESOURCES)
    def want(self, who: int, number: int, backlog: int, resources: dict[str, float]) -> None:
        self.driver.want(who, number, backlog, resources=resources)
        self.started += [c.worker_id for c in self.driver.commands if isinstance(c, StartWorker)]
        self.granted |= {lease.id for lease in self.driver.grants()}

    @rule(data=st.data())
    def come_up(self, data: st.DataObject) -> None:
        worker_id = self.pick(data, WorkerState.STARTING)
        if worker_id is not None:
            self.driver.core.worker_ready(self.driver.core.worker(worker_id), self.driver.now)  # type: ignore[arg-type]
            self.started.remove(worker_id)
        self.settle()

    @rule()
    def driver_attaches(self) -> None:
        self.driver.core.driver_attached(JOB)
        self.settle()

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        worker_id = self.pick(data, *[state for state in WorkerState if state is not WorkerState.DEAD])
        if worker_id is not None:
            self.die(worker_id)
        self.settle()

    @rule(data=st.data(), retire=st.booleans())
    def give_back(self, data: st.DataObject, retire: bool) -> None:
        leases = sorted(self.driver.core.leases.all(), key=lambda lease: lease.id)
        if leases:
            lease = data.draw(st.sampled_from(leases))
            assert self.driver.core.leases.returned(lease.client, lease.id, retire, self.driver.now)
        self.settle()

    @rule(data=st.data(), wakes=st.booleans())
    def wait_or_wake(self, data: st.DataObject, wakes: bool) -> None:
        worker_id = self.pick(data, WorkerState.LEASED, WorkerState.ACTOR)
        worker = self.driver.core.worker(worker_id) if worker_id is not None else None
        if worker is not None:
            (self.driver.core.unblocked if wakes else self.driver.core.blocked)(worker)
        self.settle()

    @rule(who=CLIENTS)
    def client_dies(self, who: int) -> None:
        self.driver.core.client_gone(client(who), self.driver.now)
        self.settle()

    @rule(cpu=st.sampled_from([0, 1]))
    def actor_comes(self, cpu: float) -> None:
        self.actors += 1
        self.driver.core.create_actor(actor(self.actors % 250, cpu=cpu), 0, self.driver.now)
        self.settle()

    @rule(seconds=st.sampled_from([1, 61]))
    def time_passes(self, seconds: float) -> None:
        self.driver.now += seconds
        self.driver.core.tick(self.driver.now)
        self.settle()

    @invariant()
    def every_allocation_has_a_holder(self) -> None:
        core = self.driver.core
        seats = sum(entry.placed for entry in core.leases.queue.entries())
        assert core.ledger.allocations == core.leases.leases + seats + len(core.actors)
        assert core.ledger.held + core.ledger.available == core.ledger.total

    @invariant()
    def a_lease_and_its_worker_name_each_other(self) -> None:
        core = self.driver.core
        for lease in core.leases.all():
            worker = core.worker(lease.worker_id)
            assert worker is not None and worker.state is WorkerState.LEASED and worker.lease_id == lease.id
        leased = [worker for worker in core.pool.table if worker.state is WorkerState.LEASED]
        assert len(leased) == core.leases.leases

    @invariant()
    def counts_are_never_negative(self) -> None:
        for entry in self.driver.core.leases.queue.entries():
            assert 0 <= entry.placed <= entry.backlog

    def teardown(self) -> None:
        """When all are gone, all is free."""
        core = self.driver.core
        for who in (1, 2, 3):
            core.client_gone(client(who), self.driver.now)
        self.driver.settle()
        for hosted in list(core.actors.of_job(actor().job_id)):
            self.driver.commands = core.actors.end(hosted.id, hosted.incarnation, actor_cause(), False, self.driver.now)
        for worker in core.pool.table:
            self.die(worker.id)
        assert core.ledger.available == core.ledger.total
        assert len(core.leases.queue) == 0 and core.leases.leases == 0


def actor_cause() -> object:
    from manta_proto.common.v1 import common_pb2

    return common_pb2.DeathCause(kind=common_pb2.DeathCause.KILLED)


TestNodeCoreMachine = NodeCoreMachine.TestCase
TestNodeCoreMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
