"""Jobs: one per driver, numbered by the cluster."""

from __future__ import annotations

from typing import Final

from manta_common.ids import JobId, NodeId, job_id
from manta_common.kept_messages import KeptMessages
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.kernel.commands import Command, Forget, Persist
from manta_gcs.kernel.record import Key, Table, id_of, record

FINISHED_LIMIT: Final = 1_000
FINISHED_BYTES: Final = 8 * 1024 * 1024


class Jobs:
    """The job table. A job is recognised by its driver's worker id, which the client chose."""

    def __init__(self, last_number: int = 0, finished_limit: int = FINISHED_LIMIT) -> None:
        self.last_number = last_number  # the owner stores it with every new job
        self._running: dict[JobId, gcs_pb2.JobRecord] = {}
        self._finished: KeptMessages[JobId, gcs_pb2.JobRecord] = KeptMessages(
            gcs_pb2.JobRecord.FromString, finished_limit, FINISHED_BYTES
        )
        # Of both, so that a repeated registration finds its job.
        self._by_driver: dict[bytes, JobId] = {}
        self._driver_of: dict[JobId, bytes] = {}

    def restore(self, job: gcs_pb2.JobRecord) -> None:
        key = JobId(job.job_id)
        self.last_number = max(self.last_number, int.from_bytes(job.job_id, "big"))
        self._know(key, job.driver.worker_id)
        if job.finished:
            self._drop(self._finished.add(key, job))
        else:
            self._running[key] = job

    def of_driver(self, worker_id: bytes) -> gcs_pb2.JobRecord | None:
        found = self._by_driver.get(worker_id)
        return None if found is None else self.get(found)

    def get(self, identity: bytes) -> gcs_pb2.JobRecord | None:
        return self._running.get(JobId(identity)) or self._finished.get(JobId(identity))

    def is_running(self, identity: bytes) -> bool:
        return JobId(identity) in self._running

    def all(self) -> list[gcs_pb2.JobRecord]:
        return sorted((*self._running.values(), *self._finished.values()), key=lambda job: job.job_id)

    def running(self) -> list[gcs_pb2.JobRecord]:
        return [self._running[key] for key in sorted(self._running)]

    @property
    def running_count(self) -> int:
        return len(self._running)

    def with_driver_on(self, node_id: NodeId) -> list[gcs_pb2.JobRecord]:
        return [job for job in self.running() if job.driver.node_id == node_id]

    def register(self, wanted: gcs_pb2.JobRecord, wall: float) -> tuple[gcs_pb2.JobRecord, list[Command]]:
        """Number a new job. The caller has looked for a repeat with of_driver()."""
        self.last_number += 1
        job = gcs_pb2.JobRecord()
        job.CopyFrom(wanted)
        job.job_id = job_id(self.last_number)
        job.started_at, job.ended_at, job.finished = wall, 0.0, False
        self._running[JobId(job.job_id)] = job
        self._know(JobId(job.job_id), job.driver.worker_id)
        return job, [_persist(job)]

    def finish(self, identity: bytes, wall: float) -> list[Command]:
        """End a running job; nothing for one that is unknown or has ended."""
        job = self._running.pop(JobId(identity), None)
        if job is None:
            return []
        ended = gcs_pb2.JobRecord()
        ended.CopyFrom(job)  # what was handed out before stays as it was
        ended.finished, ended.ended_at = True, wall
        left = self._finished.add(JobId(identity), ended)
        self._drop(left)
        return [_persist(ended), *(Forget(Key(Table.JOB, id_of(oldest))) for oldest in left)]

    def _know(self, key: JobId, driver: bytes) -> None:
        self._by_driver[driver], self._driver_of[key] = key, driver

    def _drop(self, keys: list[JobId]) -> None:
        for key in keys:
            self._by_driver.pop(self._driver_of.pop(key), None)


def _persist(job: gcs_pb2.JobRecord) -> Persist:
    return Persist(Key(Table.JOB, id_of(job.job_id)), record(job=job))
