"""Jobs: one per driver, numbered by the cluster."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from manta_common.ids import JobId, NodeId, job_id
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.commands import Command, Forget, Persist
from manta_gcs.record import Key, Table, id_of, record

FINISHED_LIMIT = 1000


class Jobs:
    """The job table. A job is recognised by its driver's worker id, which the client chose."""

    def __init__(self, last_number: int = 0, finished_limit: int = FINISHED_LIMIT) -> None:
        self.last_number = last_number  # the owner stores it with every new job
        self._limit = finished_limit
        self._jobs: dict[JobId, gcs_pb2.JobRecord] = {}
        self._by_driver: dict[bytes, JobId] = {}
        self._finished: OrderedDict[JobId, None] = OrderedDict()

    def restore(self, job: gcs_pb2.JobRecord) -> None:
        self._jobs[JobId(job.job_id)] = job
        self._by_driver[job.driver.worker_id] = JobId(job.job_id)
        self.last_number = max(self.last_number, int.from_bytes(job.job_id, "big"))
        if job.finished:
            self._finished[JobId(job.job_id)] = None

    def of_driver(self, worker_id: bytes) -> gcs_pb2.JobRecord | None:
        found = self._by_driver.get(worker_id)
        return None if found is None else self._jobs[found]

    def get(self, identity: bytes) -> gcs_pb2.JobRecord | None:
        return self._jobs.get(JobId(identity))

    def is_running(self, identity: bytes) -> bool:
        job = self.get(identity)
        return job is not None and not job.finished

    def all(self) -> list[gcs_pb2.JobRecord]:
        return [self._jobs[key] for key in sorted(self._jobs)]

    def running(self) -> list[gcs_pb2.JobRecord]:
        return [job for job in self.all() if not job.finished]

    @property
    def running_count(self) -> int:
        return len(self._jobs) - len(self._finished)

    def with_driver_on(self, node_id: NodeId) -> list[gcs_pb2.JobRecord]:
        return [job for job in self.running() if job.driver.node_id == node_id]

    def register(self, wanted: gcs_pb2.JobRecord, wall: float) -> tuple[gcs_pb2.JobRecord, list[Command]]:
        """Number a new job. The caller has looked for a repeat with of_driver()."""
        self.last_number += 1
        job = gcs_pb2.JobRecord()
        job.CopyFrom(wanted)
        job.job_id = job_id(self.last_number)
        job.started_at, job.ended_at, job.finished = wall, 0.0, False
        self._jobs[JobId(job.job_id)] = job
        self._by_driver[job.driver.worker_id] = JobId(job.job_id)
        return job, [_persist(job)]

    def finish(self, identity: bytes, wall: float) -> list[Command]:
        """End a running job; nothing for one that is unknown or has ended."""
        job = self.get(identity)
        if job is None or job.finished:
            return []
        ended = gcs_pb2.JobRecord()
        ended.CopyFrom(job)  # what was handed out before stays as it was
        ended.finished, ended.ended_at = True, wall
        self._jobs[JobId(identity)] = ended
        self._finished[JobId(identity)] = None
        return [_persist(ended), *self._forget_oldest()]

    def _forget_oldest(self) -> Iterable[Command]:
        while len(self._finished) > self._limit:
            oldest, _ = self._finished.popitem(last=False)
            job = self._jobs.pop(oldest)
            self._by_driver.pop(job.driver.worker_id, None)
            yield Forget(Key(Table.JOB, id_of(oldest)))


def _persist(job: gcs_pb2.JobRecord) -> Persist:
    return Persist(Key(Table.JOB, id_of(job.job_id)), record(job=job))
