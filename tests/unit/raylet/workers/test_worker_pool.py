from manta_common.ids import ActorId, JobId, WorkerId, job_id
from manta_proto.gcs.v1 import gcs_pb2
from manta_raylet.kernel.commands import StartActor, StartWorker
from manta_raylet.kernel.lease import WorkerKey, default_key
from manta_raylet.workers.worker_pool import PoolLimits, WorkerPool
from manta_raylet.workers.worker_table import Worker, WorkerState

from tests.unit.raylet.core_driver import JOB, CoreDriver, actor, client

KEY = default_key(JOB, "")


class Pool:
    """A pool of one job whose workers come up when the test says so."""

    def __init__(self, cpus: int = 2, concurrent_starts: int = 16, workers: int = 100, ahead: int = 8) -> None:
        self._ids = 0
        limits = PoolLimits(cpus=cpus, concurrent_starts=concurrent_starts, workers=workers, ahead=ahead)
        self.pool = WorkerPool(limits, self._new_id)
        self.pool.job_known(JOB)

    def _new_id(self) -> WorkerId:
        self._ids += 1
        return WorkerId(self._ids.to_bytes(28, "big"))

    def up(self, waiting: dict[WorkerKey, int] | None = None) -> list[Worker]:
        """Start what is to start, and have it ready."""
        started = self.pool.starts(waiting or {}, 0)
        for worker in started:
            self.pool.ready(worker, 0)
        return started

    def claim(self, key: WorkerKey = KEY) -> Worker:
        worker = self.pool.claim(key, 0)
        assert worker is not None
        return worker


def test_a_worker_a_cpu_is_started_ahead_of_any_lease() -> None:
    pool = Pool(cpus=2)
    assert pool.up() == []
    pool.pool.start_ahead(KEY)
    assert len(pool.up()) == 2
    assert pool.up() == []


def test_no_more_are_started_ahead_than_the_limit() -> None:
    pool = Pool(cpus=64, ahead=8)
    pool.pool.start_ahead(KEY)
    assert len(pool.up()) == 8


def test_a_lease_on_the_last_idle_worker_has_one_more_started_until_every_cpu_has_one() -> None:
    pool = Pool(cpus=4, ahead=2)
    pool.pool.start_ahead(KEY)
    assert len(pool.up()) == 2
    pool.claim()
    assert pool.up() == []
    pool.claim()
    assert len(pool.up()) == 1
    pool.claim()
    assert len(pool.up()) == 1
    pool.claim()
    assert pool.up() == []


def test_a_lease_that_waits_takes_the_worker_that_was_started_ahead() -> None:
    pool = Pool(cpus=1)
    pool.pool.start_ahead(KEY)
    assert len(pool.pool.starts({}, 0)) == 1
    assert pool.pool.starts({KEY: 1}, 0) == []


def test_idle_workers_of_other_kinds_count() -> None:
    pool = Pool(cpus=2)
    pool.pool.start_ahead(KEY)
    pool.up()
    other = default_key(job_id(2), "")
    pool.pool.job_known(JobId(other.job_id))
    pool.pool.start_ahead(other)
    assert pool.up() == []
    pool.claim()
    assert [worker.key for worker in pool.up()] == [other]


def test_the_limits_on_starts_and_on_processes_hold() -> None:
    pool = Pool(cpus=8, concurrent_starts=3)
    pool.pool.start_ahead(KEY)
    assert len(pool.pool.starts({}, 0)) == 3
    assert pool.pool.starts({}, 0) == []
    few = Pool(cpus=8, workers=2)
    few.pool.start_ahead(KEY)
    assert len(few.up()) == 2 and few.up() == []


def test_nothing_starts_ahead_for_a_job_that_is_unknown_or_over() -> None:
    pool = Pool()
    unknown = default_key(job_id(9), "")
    pool.pool.start_ahead(unknown)
    assert pool.up() == []
    pool.pool.start_ahead(KEY)
    pool.pool.stop_ahead_of_job(JOB)
    assert pool.up() == []


def test_an_idle_worker_that_ended_for_its_age_is_not_started_again() -> None:
    pool = Pool(cpus=1)
    pool.up({KEY: 3})
    pool.pool.start_ahead(KEY)
    old = pool.pool.too_old(1_000)
    assert len(old) == 2
    for worker in old:
        pool.pool.end(worker, 1_000)
    assert pool.up() == []


def test_an_actor_takes_an_unused_idle_worker_and_another_is_started_ahead() -> None:
    pool = Pool(cpus=1)
    pool.pool.start_ahead(KEY)
    (worker,) = pool.up()
    actor_id = ActorId(b"a" * 16)
    pool.pool.want_actor(actor_id, 3, KEY)
    assert pool.pool.claim_for_actors(0) == [worker]
    assert (worker.state, worker.actor_id, worker.incarnation) == (WorkerState.ACTOR, actor_id, 3)
    assert pool.pool.queued_actors == 0
    assert len(pool.up()) == 1


def test_an_actor_takes_no_worker_that_ran_tasks_and_none_of_another_kind() -> None:
    pool = Pool(cpus=2)
    pool.pool.start_ahead(KEY)
    pool.up()
    for worker in (pool.claim(), pool.claim()):
        pool.pool.give_back(worker, False, 0)
    other = WorkerKey(JOB, "", 4)
    pool.pool.want_actor(ActorId(b"a" * 16), 0, KEY)
    pool.pool.want_actor(ActorId(b"b" * 16), 0, other)
    assert pool.pool.claim_for_actors(0) == []
    started = pool.pool.starts({}, 0)
    assert [(worker.actor_id, worker.key) for worker in started] == [(b"a" * 16, KEY), (b"b" * 16, other)]


def test_the_default_kind_is_that_of_a_task_without_options() -> None:
    driver = CoreDriver()
    env = '{"env_vars": {"OMP_NUM_THREADS": "3"}}'
    driver.want(runtime_env=env, num_threads=3)
    (start,) = [c for c in driver.commands if isinstance(c, StartWorker)]
    assert start.key == default_key(JOB, env)
    assert default_key(JOB, "{}") == KEY == WorkerKey(JOB, "", 1)


def test_the_first_lease_of_a_driver_is_granted_without_a_start() -> None:
    driver = CoreDriver(cpu=2)
    driver.core.driver_attached(JOB)
    assert len([c for c in driver.settle() if isinstance(c, StartWorker)]) == 2
    driver.start()
    driver.want()
    assert len(driver.grants()) == 1
    assert [c for c in driver.commands if isinstance(c, StartWorker)] == []


def test_the_first_actor_of_a_driver_is_made_in_a_worker_that_is_there() -> None:
    driver = CoreDriver(cpu=2)
    driver.core.driver_attached(JOB)
    driver.settle()
    driver.start()
    driver.core.create_actor(actor(), 0, 0)
    commands = driver.settle()
    (made,) = [c for c in commands if isinstance(c, StartActor)]
    worker = driver.core.worker(made.worker_id)
    assert worker is not None and worker.actor_id == made.spec.actor_id
    assert len([c for c in commands if isinstance(c, StartWorker)]) == 1


def test_workers_that_die_before_they_serve_are_not_started_ahead_again() -> None:
    driver = CoreDriver(cpu=2)
    driver.core.driver_attached(JOB)
    first, *_ = [c for c in driver.settle() if isinstance(c, StartWorker)]
    assert [c for c in driver.die(first.worker_id, 1) if isinstance(c, StartWorker)] == []


def test_a_node_that_drains_and_a_job_that_ended_start_nothing_ahead() -> None:
    driver = CoreDriver()
    driver.core.drain()
    driver.core.driver_attached(JOB)
    assert driver.settle() == []
    driver = CoreDriver()
    driver.core.job_ended(JOB, 0)
    driver.core.job_started(gcs_pb2.JobRecord(job_id=JOB))
    driver.core.driver_attached(JOB)
    assert driver.settle() == []
    assert driver.core.leases.held_by(client(1)) == []
