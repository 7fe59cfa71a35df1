"""The cluster's own record: its id, the session's name and the number of the last job."""

from __future__ import annotations

from dataclasses import dataclass

from manta_proto.gcs.v1 import records_pb2

from manta_gcs.kernel.record import Key, Table, record

KEY = Key(Table.CLUSTER, "identity")


@dataclass(slots=True)
class ClusterIdentity:
    """last_job only rises, so that no two jobs of a cluster ever share a number."""

    cluster_id: str
    session_name: str
    last_job: int = 0

    @classmethod
    def restored(cls, stored: records_pb2.StoredCluster) -> ClusterIdentity:
        return cls(stored.cluster_id, stored.session_name, stored.last_job)

    def record(self) -> tuple[Key, records_pb2.StoredRecord]:
        stored = records_pb2.StoredCluster(
            cluster_id=self.cluster_id, last_job=self.last_job, session_name=self.session_name
        )
        return KEY, record(cluster=stored)
