from manta_common.ids import WorkerId, job_id
from manta_proto.gcs.v1 import gcs_pb2
from manta_raylet.core.long_wait_log import Patience, Wait
from manta_raylet.workers.job_table import RECORDS_KEPT, JobTable

from tests.unit.raylet.core_driver import CoreDriver


def test_a_wait_is_told_once_when_it_passes_the_limit() -> None:
    patience = Patience(limit_s=30)
    wait = Wait(("a",), "3 leases", "no CPU")
    assert patience.update([wait], 0) == []
    assert patience.update([wait], 29) == []
    assert patience.update([wait], 31) == [{"what": "3 leases", "reason": "no CPU", "waited_s": 31}]
    assert patience.update([wait], 90) == []
    assert patience.update([], 91) == []
    assert patience.update([wait], 92) == [], "a new wait counts from its own begin"


def test_the_core_names_what_waits() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(name="f", resources={"magic": 1})
    driver.want(request_id=2)
    driver.want(request_id=3, job=job_id(9), resources={"CPU": 0})
    whats = {wait.what.split()[0] for wait in driver.core.waits()}
    assert whats == {"1", "worker", "job"}


def test_an_ended_job_is_forgotten_after_many_others_if_nothing_uses_it_and_does_not_come_back() -> None:
    jobs = JobTable()
    record = gcs_pb2.JobRecord(job_id=job_id(1))
    record.driver.worker_id = b"d" * 28
    jobs.started(record)
    assert jobs.of_driver(WorkerId(b"d" * 28)) == job_id(1) and jobs.running() == 1
    jobs.ended(job_id(1))
    assert jobs.drop_ended(lambda job: True) == [] and jobs.get(job_id(1)) == record
    assert jobs.is_over(job_id(1)) and jobs.running() == 0
    assert jobs.drop_ended(lambda job: False) == [], "detached actors of other nodes may still lease here"
    for number in range(2, RECORDS_KEPT + 2):
        jobs.started(gcs_pb2.JobRecord(job_id=job_id(number)))
        jobs.ended(job_id(number))
    assert jobs.drop_ended(lambda job: False) == [job_id(1)]
    jobs.started(record)
    assert jobs.get(job_id(1)) is None
