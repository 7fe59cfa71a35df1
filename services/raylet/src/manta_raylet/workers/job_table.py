"""The jobs whose workers run here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from manta_common.ids import JobId, WorkerId
from manta_proto.gcs.v1 import gcs_pb2

ENDED_KEPT: Final = 10_000
# Records of ended jobs that nothing here uses: a detached actor elsewhere may lease here, however long after its job.
RECORDS_KEPT: Final = 1_000


class JobTable:
    """Records of running jobs, of ended ones that are used here, and of the last other ended ones; ids of more."""

    def __init__(self) -> None:
        self._records: dict[JobId, gcs_pb2.JobRecord] = {}
        self._ended: OrderedDict[JobId, None] = OrderedDict()

    def get(self, job_id: JobId) -> gcs_pb2.JobRecord | None:
        return self._records.get(job_id)

    def ids(self) -> list[JobId]:
        """All that have a record here, ended ones too."""
        return list(self._records)

    def running_ids(self) -> list[JobId]:
        return [job_id for job_id in self._records if job_id not in self._ended]

    def running(self) -> int:
        return len(self.running_ids())

    def started(self, record: gcs_pb2.JobRecord) -> None:
        job_id = JobId(record.job_id)
        if job_id not in self._ended:
            self._records[job_id] = _copy(record)

    def outlived(self, record: gcs_pb2.JobRecord) -> None:
        """The record of a job that is over, again: something of it is to live here."""
        self._records[JobId(record.job_id)] = _copy(record)
        self.ended(JobId(record.job_id))

    def ended(self, job_id: JobId) -> None:
        self._ended[job_id] = None
        if len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)

    def is_over(self, job_id: JobId) -> bool:
        return job_id in self._ended

    def of_driver(self, worker_id: WorkerId) -> JobId | None:
        for job_id, record in self._records.items():
            if record.driver.worker_id == worker_id:
                return job_id
        return None

    def drop_ended(self, in_use: Callable[[JobId], bool]) -> list[JobId]:
        """Forget the records of ended jobs that nothing uses, beyond the last RECORDS_KEPT. returns: which."""
        if len(self._records) <= RECORDS_KEPT:
            return []
        unused = [job_id for job_id in self._records if job_id in self._ended and not in_use(job_id)]
        gone = unused[: max(0, len(unused) - RECORDS_KEPT)]
        for job_id in gone:
            del self._records[job_id]
        return gone


def _copy(record: gcs_pb2.JobRecord) -> gcs_pb2.JobRecord:
    """Without the batch of news that it came in, which a part of it would hold."""
    copy = gcs_pb2.JobRecord()
    copy.CopyFrom(record)
    return copy
