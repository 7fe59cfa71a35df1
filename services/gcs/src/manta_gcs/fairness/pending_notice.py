"""What drivers are told of their actors and placement groups that find no node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from manta_common.ids import JobId
from manta_common.scheduling.demand_notice import INFEASIBLE_AFTER_S, DemandNotices, WaitingDemand
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.actors.actor_placement import ActorPlacement
from manta_gcs.jobs.job import Jobs
from manta_gcs.kernel.commands import Command
from manta_gcs.kernel.events import Moment
from manta_gcs.nodes.node import Node, NodeTable
from manta_gcs.placement_groups.group_placement import GroupPlacement


class PendingNotices:
    """A look at all that waits, when the first of it may be due; nothing while nobody waits."""

    def __init__(self, nodes: NodeTable, jobs: Jobs, actors: ActorPlacement, groups: GroupPlacement) -> None:
        self._nodes, self._jobs, self._actors, self._groups = nodes, jobs, actors, groups
        self._notices = DemandNotices()
        self._look_at: float | None = None

    def settle(self, at: Moment) -> list[Command]:
        """Once a batch. cost: O(1), and O(waiting) at most every INFEASIBLE_AFTER_S or when a notice is due."""
        if not len(self._actors) and not len(self._groups.queue):
            self._look_at = None
            return []
        if self._look_at is None:
            self._look_at = at.steady + INFEASIBLE_AFTER_S
        if at.steady < self._look_at:
            return []
        commands: list[Command] = []
        for notice in self._notices.take(self._waiting(), at.steady):
            node = self._driver_node(notice.job_id)
            assert node is not None, "only jobs whose driver can be reached are asked for"
            told = gcs_pb2.JobNotice(job_id=notice.job_id, key=notice.key, text=notice.text)
            commands += self._nodes.tell(node.id, gcs_pb2.GcsToNode(job_notice=told))
        # What begins to wait from now on is due no earlier than that.
        soonest = at.steady + INFEASIBLE_AFTER_S
        due = self._notices.next_at
        self._look_at = soonest if due is None else min(due, soonest)
        return commands

    def deadline(self) -> float | None:
        """When (Moment.steady) the next look is due."""
        return self._look_at

    def job_ended(self, job_id: JobId) -> None:
        self._notices.forget(job_id)

    def _waiting(self) -> Iterator[WaitingDemand]:
        reachable: dict[JobId, bool] = {}
        for demand in chain(self._actors.waits(), self._groups.waits()):
            job_id = demand.job_id
            if job_id not in reachable:
                reachable[job_id] = self._driver_node(job_id) is not None
            if reachable[job_id]:
                yield demand

    def _driver_node(self, job_id: JobId) -> Node | None:
        """Where the job's driver is, if it runs and its node is in touch."""
        job = self._jobs.get(job_id)
        if job is None or job.finished:
            return None
        node = self._nodes.get(job.driver.node_id)
        return node if node is not None and node.session is not None else None
