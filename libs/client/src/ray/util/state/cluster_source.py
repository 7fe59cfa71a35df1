"""Where the rows of the state tables come from: the GCS, and the raylets for what only they know."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from manta_common.state_filter import StateFilter, all_pass
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2, task_pb2

from ray.util.state.actor_rows import actor_row
from ray.util.state.cluster_rows import job_row, node_row, placement_group_row
from ray.util.state.common import ID_COLUMNS, RAY_MAX_LIMIT_FROM_DATA_SOURCE, RECORDS, StateResource
from ray.util.state.exception import RayStateApiException
from ray.util.state.object_rows import object_rows
from ray.util.state.records import ObjectState
from ray.util.state.schema import StateSchema
from ray.util.state.task_rows import task_rows
from ray.util.state.worker_rows import dead_rows, driver_row, living_rows

if TYPE_CHECKING:
    from ray._tools.gcs_tool import GcsTool
    from ray._tools.raylet_tool import RayletTool


@dataclass
class Listing:
    """Rows of a table. total: of the whole table; matched: how many passed the filters; warnings: what is missing."""

    rows: list[Any]
    total: int
    matched: int
    warnings: list[str] = field(default_factory=list)


class ClusterSource:
    """Asks one cluster for one table at a time."""

    def __init__(self, gcs: GcsTool, raylets: RayletTool) -> None:
        self._gcs = gcs
        self._raylets = raylets

    def listing(self, resource: StateResource, filters: Sequence[StateFilter], limit: int) -> Listing:
        """raises: RayStateApiException for a column that no filter can be for, or a table that is not there yet."""
        record = RECORDS[resource]
        for condition in filters:
            if condition.column not in record.filterable_columns():
                known = ", ".join(name for name in record.list_columns() if name in record.filterable_columns())
                raise RayStateApiException(
                    f"{resource.value} cannot be filtered by {condition.column!r}; the columns for filters are {known}"
                )
        source = _SOURCES.get(resource)
        if source is None:
            raise RayStateApiException(
                f"the table of {resource.value} is not supported yet; there are "
                f"{', '.join(sorted(one.value for one in _SOURCES))}"
            )
        listing = source(self, filters, limit)
        listing.rows.sort(key=_id_of(resource))
        return listing

    def task_summary(self) -> task_pb2.TaskSummary:
        return self._gcs.ask(summarize_tasks=task_pb2.SummarizeTasks()).task_summary

    def node_infos(self) -> list[common_pb2.NodeInfo]:
        return [item.info for item in self._gcs.nodes()]

    # -- the tables

    def _actors(self, filters: Sequence[StateFilter], limit: int) -> Listing:
        wanted = gcs_pb2.ListActors(filters=_to_proto(filters), limit=limit)
        found = self._gcs.ask(list_actors=wanted).actor_list
        return Listing([actor_row(item) for item in found.items], found.total, found.matched)

    def _tasks(self, filters: Sequence[StateFilter], limit: int) -> Listing:
        found = self._gcs.ask(list_tasks=task_pb2.ListTasks(filters=_to_proto(filters), limit=limit)).task_list
        listing = Listing(task_rows(found), found.total, found.matched)
        if found.dropped:
            listing.warnings.append(
                f"{found.dropped} attempts of tasks are not in the table any more: it keeps the latest, and "
                "`ray summary tasks` counts all"
            )
        return listing

    def _nodes(self, filters: Sequence[StateFilter], limit: int) -> Listing:
        return _chosen(StateResource.NODES, [node_row(info) for info in self.node_infos()], filters, limit)

    def _jobs(self, filters: Sequence[StateFilter], limit: int) -> Listing:
        return _chosen(StateResource.JOBS, [job_row(job) for job in self._job_records()], filters, limit)

    def _placement_groups(self, filters: Sequence[StateFilter], limit: int) -> Listing:
        found = self._gcs.ask(list_placement_groups=placement_group_pb2.ListPlacementGroups())
        rows = [placement_group_row(item) for item in found.placement_group_list.items]
        return _chosen(StateResource.PLACEMENT_GROUPS, rows, filters, limit)

    def _workers(self, filters: Sequence[StateFilter], limit: int) -> Listing:
        nodes = {info.node_id: info for info in self.node_infos()}
        rows = [driver_row(job) for job in self._job_records()]
        warnings = []
        for info in nodes.values():
            if info.state == common_pb2.NodeInfo.DEAD:
                continue
            try:
                rows += living_rows(info, self._raylets.describe(info.raylet_address))
            except ConnectionError as error:
                warnings.append(f"the workers of node {info.node_id.hex()} are missing: {error}")
        dead = self._gcs.ask(list_dead_workers=gcs_pb2.ListDeadWorkers()).dead_worker_list
        rows += dead_rows(dead.items, nodes, {row.worker_id for row in rows})
        listing = _chosen(StateResource.WORKERS, rows, filters, limit)
        listing.warnings = warnings
        return listing

    def _objects(self, filters: Sequence[StateFilter], limit: int) -> Listing:
        rows: list[ObjectState] = []
        warnings = []
        unlisted = 0
        for info in self.node_infos():
            if info.state == common_pb2.NodeInfo.DEAD:
                continue
            try:
                found = self._raylets.references(info.raylet_address, RAY_MAX_LIMIT_FROM_DATA_SOURCE)
            except ConnectionError as error:
                warnings.append(f"the objects of node {info.node_id.hex()} are missing: {error}")
                continue
            if found.silent:
                warnings.append(f"{found.silent} processes of node {info.node_id.hex()} did not answer in time")
            for process in found.processes:
                rows += object_rows(info, process)
                unlisted += process.references.total - len(process.references.items)
        if unlisted:
            warnings.append(
                f"{unlisted} references are missing: each process tells of {RAY_MAX_LIMIT_FROM_DATA_SOURCE} at most"
            )
        listing = _chosen(StateResource.OBJECTS, rows, filters, limit)
        listing.warnings = warnings
        return listing

    def _job_records(self) -> list[gcs_pb2.JobRecord]:
        return list(self._gcs.ask(list_jobs=gcs_pb2.ListJobs()).job_list.items)


_Source = Callable[[ClusterSource, Sequence[StateFilter], int], Listing]
_SOURCES: Final[dict[StateResource, _Source]] = {
    StateResource.ACTORS: ClusterSource._actors,
    StateResource.JOBS: ClusterSource._jobs,
    StateResource.NODES: ClusterSource._nodes,
    StateResource.OBJECTS: ClusterSource._objects,
    StateResource.PLACEMENT_GROUPS: ClusterSource._placement_groups,
    StateResource.TASKS: ClusterSource._tasks,
    StateResource.WORKERS: ClusterSource._workers,
}


def _to_proto(filters: Sequence[StateFilter]) -> list[task_pb2.StateFilter]:
    return [task_pb2.StateFilter(column=one.column, value=one.value, unequal=one.unequal) for one in filters]


def _id_of(resource: StateResource) -> Callable[[StateSchema], str]:
    """By what the rows of a table are in order: an answer is the same for as long as nothing changes."""
    column = ID_COLUMNS[resource]
    return lambda row: getattr(row, column) or ""


def _chosen(
    resource: StateResource, rows: Sequence[StateSchema], filters: Sequence[StateFilter], limit: int
) -> Listing:
    passed = sorted((row for row in rows if all_pass(filters, row.get)), key=_id_of(resource))
    return Listing(passed[:limit], len(rows), len(passed))


def calling_thread_waits() -> contextlib.AbstractContextManager[None]:
    """For a query from within a task: its CPUs are lent meanwhile, and somebody else reads its channels."""
    from ray._runtime import current

    runtime: Any = current.runtime_or_none()
    return runtime.blocking() if runtime is not None else contextlib.nullcontext()
