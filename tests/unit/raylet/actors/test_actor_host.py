from manta_common.ids import ActorId, JobId
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_raylet.kernel.commands import EndWorker, KillWorker, ReportActor, StartActor, StartWorker
from manta_raylet.workers.job_table import RECORDS_KEPT

from tests.unit.raylet.core_driver import HERE, JOB, THERE, CoreDriver, actor, client

Cause = common_pb2.DeathCause


def reports(driver: CoreDriver) -> list[gcs_pb2.ActorReport]:
    return [command.report for command in driver.commands if isinstance(command, ReportActor)]


def alive(driver: CoreDriver, spec: object = None, incarnation: int = 0) -> bytes:
    """An actor whose constructor returned; its worker id."""
    spec = spec or actor()
    driver.core.create_actor(spec, incarnation, driver.now)  # type: ignore[arg-type]
    driver.settle()
    (start,) = [c for c in driver.commands if isinstance(c, StartWorker)]
    driver.start()
    assert [type(c) for c in driver.commands] == [StartActor]
    worker = driver.core.worker(start.worker_id)
    assert worker
    driver.core.actor_started(worker, None, "Counter()", driver.now)
    driver.settle()
    return start.worker_id


def test_an_actor_is_reported_with_its_address_once_its_constructor_returned() -> None:
    driver = CoreDriver()
    worker_id = alive(driver)
    (report,) = reports(driver)
    assert report.address.worker_id == worker_id and report.pid > 0 and report.repr_name == "Counter()"
    assert not report.HasField("failure")
    assert driver.core.actors.present() == [report]


def test_an_actor_is_named_as_soon_as_it_holds_something_and_whenever_a_gcs_is_attached_to() -> None:
    """Else the GCS counts it twice, or knows nothing of one that it has to end, until its constructor returns."""
    driver = CoreDriver(cpu=1)
    actors = driver.core.actors
    driver.core.create_actor(actor(1, cpu=1), 3, 0)
    assert actors.has_taken
    (taken,) = actors.take_taken()
    assert (taken.actor_id, taken.incarnation) == (actor(1).actor_id, 3)
    assert not taken.HasField("address") and not taken.HasField("failure") and not taken.rejected
    assert not actors.has_taken and actors.take_taken() == []
    assert actors.present() == [taken]
    driver.settle()
    driver.start()
    assert actors.present() == [taken], "its constructor runs"
    driver.core.create_actor(actor(2, cpu=1), 0, 0)
    driver.core.create_actor(actor(3), 0, 0)
    assert not actors.has_taken, "one was rejected, the other holds nothing, so that it may be told at any time"
    assert [report.actor_id for report in actors.take_taken()] == [actor(3).actor_id]


def test_actors_are_unfinished_until_their_constructor_ended_one_way_or_the_other() -> None:
    """Meanwhile the node waits a moment with the news of each, so that several go in one message."""
    driver = CoreDriver(cpu=2)
    actors = driver.core.actors
    for number in range(6):  # two more than may start at once
        driver.core.create_actor(actor(number), 0, 0)
        driver.core.create_actor(actor(number), 0, 0)
    assert actors.unfinished == 6
    driver.settle()
    driver.start()
    assert actors.unfinished == 6, "their constructors run"
    first, second, *_ = [c.worker_id for c in driver.commands if isinstance(c, StartActor)]
    made, failed = driver.core.worker(first), driver.core.worker(second)
    assert made is not None and failed is not None
    driver.core.actor_started(made, None, "", 0)
    driver.core.actor_started(made, None, "", 0)
    driver.core.actor_started(failed, Cause(kind=Cause.INIT_FAILED), "", 0)
    assert actors.unfinished == 4
    actors.end(ActorId(actor(5).actor_id), 0, Cause(kind=Cause.KILLED), False, 0)
    assert actors.unfinished == 3, "one had no process yet"
    driver.core.create_actor(actor(0), 1, 0)
    assert actors.unfinished == 4, "the next incarnation of one that lived"


def test_what_is_only_needed_to_place_an_actor_is_not_held_and_for_the_gcs_to_weigh() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.create_actor(actor(1), 0, 0)
    driver.core.create_actor(actor(2), 0, 0)
    assert reports(driver) == []
    assert driver.core.ledger.available == driver.core.ledger.total
    driver.lease()
    driver.core.create_actor(actor(3), 0, 0)
    driver.settle()
    assert reports(driver) == []
    driver.core.create_actor(actor(4, cpu=1), 0, 0)
    driver.settle()
    (report,) = reports(driver)
    assert report.rejected


def test_a_repeated_order_has_one_effect() -> None:
    driver = CoreDriver(cpu=1)
    alive(driver, actor(cpu=1))
    driver.core.create_actor(actor(cpu=1), 0, 0)
    driver.settle()
    assert len(reports(driver)) == 1 and len(driver.commands) == 1


def test_the_end_of_its_process_is_reported_and_its_resources_are_free() -> None:
    driver = CoreDriver(cpu=1)
    worker_id = alive(driver, actor(cpu=1))
    assert driver.core.ledger.available.get("CPU") == 0
    driver.die(worker_id, status=-11)
    (report,) = reports(driver)
    assert (report.failure.kind, report.failure.exit_code) == (Cause.WORKER_DIED, -11)
    assert driver.core.ledger.available == driver.core.ledger.total
    assert driver.core.actors.present() == [] and driver.core.actors.failures() == [report]
    driver.core.create_actor(actor(cpu=1), 0, 0)
    driver.settle()
    assert reports(driver) == [report], "that incarnation failed; it is not made again"


def test_a_constructor_that_raised_is_reported_at_once() -> None:
    driver = CoreDriver()
    driver.core.create_actor(actor(), 2, 0)
    driver.settle()
    (start,) = [c for c in driver.commands if isinstance(c, StartWorker)]
    driver.start()
    worker = driver.core.worker(start.worker_id)
    assert worker
    failure = Cause(kind=Cause.INIT_FAILED, error=b"pickled")
    driver.core.actor_started(worker, failure, "", 0)
    driver.settle()
    (report,) = reports(driver)
    assert report.incarnation == 2 and report.failure.error == b"pickled"
    assert [type(c) for c in driver.commands] == [ReportActor, EndWorker]
    driver.die(worker.id, status=0)
    assert reports(driver) == []


def test_an_actor_ends_gracefully_or_at_once_with_the_cause_it_was_given() -> None:
    for graceful, command in ((True, EndWorker), (False, KillWorker)):
        driver = CoreDriver()
        worker_id = alive(driver)
        cause = Cause(kind=Cause.KILLED, message="ray.kill")
        order = gcs_pb2.EndActor(actor_id=actor().actor_id, incarnation=0, cause=cause, graceful=graceful)
        driver.core.end_actor(order, 0)
        driver.settle()
        assert [type(c) for c in driver.commands] == [command]
        driver.die(worker_id, status=0)
        (report,) = reports(driver)
        assert (report.failure.kind, report.failure.message) == (Cause.KILLED, "ray.kill")


def test_the_end_of_an_actor_that_is_not_here_is_confirmed() -> None:
    driver = CoreDriver()
    driver.core.end_actor(gcs_pb2.EndActor(actor_id=actor().actor_id, incarnation=3), 0)
    driver.settle()
    assert [report.incarnation for report in reports(driver)] == [3]


def test_an_actor_that_ends_before_its_process_is_there_leaves_nothing_behind() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.create_actor(actor(cpu=1), 0, 0)
    began = driver.settle()
    driver.core.end_actor(gcs_pb2.EndActor(actor_id=actor().actor_id, incarnation=0, cause=Cause(kind=Cause.KILLED)), 0)
    driver.settle()
    assert reports(driver)[0].failure.kind == Cause.KILLED
    assert driver.core.ledger.available == driver.core.ledger.total
    driver.commands = began
    assert [type(c) for c in driver.start()] == [KillWorker]


def test_a_newer_incarnation_replaces_the_older_and_never_the_reverse() -> None:
    driver = CoreDriver()
    old = alive(driver, incarnation=1)
    driver.core.create_actor(actor(), 2, 0)
    driver.settle()
    assert KillWorker(old) in driver.commands
    driver.core.create_actor(actor(), 1, 0)
    driver.settle()
    assert not [c for c in driver.commands if isinstance(c, StartWorker)]
    driver.die(old)
    assert reports(driver) == [], "the death of the older one is no news"


def test_a_process_that_never_reports_gets_successors() -> None:
    driver = CoreDriver()
    driver.core.create_actor(actor(), 0, 0)
    driver.settle()
    for attempt in range(3):
        (start,) = [c for c in driver.commands if isinstance(c, StartWorker)]
        driver.die(start.worker_id, status=1)
        assert len(reports(driver)) == (attempt == 2)


def test_an_actor_that_waits_lends_its_cpus() -> None:
    driver = CoreDriver(cpu=1)
    worker = driver.core.worker(alive(driver, actor(cpu=1)))  # type: ignore[arg-type]
    assert worker
    driver.core.blocked(worker)
    assert driver.core.ledger.available.get("CPU") == 10_000
    driver.core.unblocked(worker)
    assert driver.core.ledger.available.get("CPU") == 0


def test_the_end_of_a_job_spares_detached_actors_and_what_they_lease() -> None:
    driver = CoreDriver(cpu=4)
    kept = alive(driver, actor(1, detached=True))
    gone = alive(driver, actor(2))
    task = driver.lease(who=1)
    spared = driver.core
    nested = driver.lease(who=1, request_id=2)
    nested.client = kept  # type: ignore[assignment]
    spared.job_ended(JOB, 0)
    killed = {c.worker_id for c in driver.settle() if isinstance(c, KillWorker)}
    assert killed == {gone, task.worker_id}
    assert spared.survivors(JOB) == {kept, nested.worker_id}


def test_an_actor_that_outlived_its_job_is_created_where_the_job_is_forgotten() -> None:
    driver = CoreDriver(cpu=4)
    record = driver.core.jobs.get(JOB)
    assert record is not None
    worker_id = alive(driver, actor(1, detached=True))
    driver.core.job_ended(JOB, 0)
    driver.die(worker_id)
    for number in range(RECORDS_KEPT + 1):
        driver.core.job_started(gcs_pb2.JobRecord(job_id=number.to_bytes(8, "big")))
        driver.core.job_ended(JobId(number.to_bytes(8, "big")), 0)
    driver.core.tick(1)  # before the GCS, which is told of the death, has it created again
    assert driver.core.jobs.get(JOB) is None
    driver.commands.clear()
    driver.core.job_outlived(record)
    assert alive(driver, actor(1, detached=True), incarnation=1)
    assert driver.core.jobs.is_over(JOB) and driver.core.jobs.running() == 0
    driver.core.tick(2)
    assert driver.core.jobs.get(JOB) is not None


def test_a_detached_actor_of_another_node_leases_workers_although_its_job_is_over() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.job_ended(JOB, 0)
    driver.core.tick(1)
    assert [type(command) for command in driver.want(who=1)] == [StartWorker]


def test_the_end_of_a_job_spares_what_a_detached_actor_created() -> None:
    driver = CoreDriver(cpu=4)
    kept = alive(driver, actor(1, detached=True))
    child = alive(driver, actor(2, owner={"worker_id": kept, "node_id": HERE}))
    grandchild = alive(driver, actor(3, owner={"worker_id": child, "node_id": HERE}))
    gone = alive(driver, actor(4))
    alive(driver, actor(5, owner={"worker_id": b"elsewhere", "node_id": THERE}))
    driver.core.job_ended(JOB, 0)
    assert [c.worker_id for c in driver.settle() if isinstance(c, KillWorker)] == [gone], "of others the GCS decides"
    assert driver.core.survivors(JOB) == {kept, child, grandchild}


def test_the_end_of_a_job_spares_what_workers_of_other_nodes_lease_until_they_die() -> None:
    driver = CoreDriver(cpu=4)
    remote = client(5)
    leased = driver.lease(who=5)
    nested = driver.lease(who=1)
    nested.client = leased.worker_id
    driver.core.job_ended(JOB, 0, {remote})
    assert [c for c in driver.settle() if isinstance(c, KillWorker)] == []
    assert driver.core.survivors(JOB, {remote}) == {remote, leased.worker_id, nested.worker_id}
    assert driver.core.jobs.get(JOB) is not None, "what survives may start more"
    driver.core.client_gone(remote, 0)
    assert [c.worker_id for c in driver.settle() if isinstance(c, KillWorker)] == [leased.worker_id]
