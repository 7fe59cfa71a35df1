"""The functions of the state API, and the client behind them."""

from __future__ import annotations

import builtins
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from ray.util.state.common import (
    DEFAULT_LIMIT,
    DEFAULT_RPC_TIMEOUT,
    ID_COLUMNS,
    RAY_MAX_LIMIT_FROM_API_SERVER,
    ActorState,
    ClusterEventState,
    Filters,
    GetApiOptions,
    JobState,
    ListApiOptions,
    NodeState,
    ObjectState,
    PlacementGroupState,
    RuntimeEnvState,
    StateResource,
    SummaryApiOptions,
    SummaryResource,
    TaskState,
    WorkerState,
)
from ray.util.state.exception import RayStateApiException

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class StateApiClient:
    """Asks one cluster. address: of its GCS, host:port; None: the one this program is connected to, else the latest of
    this machine. cookies, headers: accepted as upstream's; there is no HTTP server to send them to.

    raises: ConnectionError when the address names no cluster.
    """

    def __init__(
        self,
        address: str | None = None,
        cookies: dict[str, Any] | None = None,
        headers: dict[str, Any] | None = None,
    ) -> None:
        from manta_common.credentials import CredentialError, find_tls, find_token

        from ray._node.address import find_address
        from ray._runtime import current

        runtime: Any = current.runtime_or_none()
        if runtime is not None and address in (None, "auto"):
            self._addresses = tuple(runtime.gcs_addresses.split(","))
            self._token, self._tls = runtime.identity.token, runtime.tls
            return
        found = find_address(address or "auto")
        if found is None:
            raise ConnectionError("address='local' names no running cluster; give host:port or auto")
        self._addresses = found.gcs_addresses
        try:
            self._token = find_token(os.environ, session_dir=found.session_dir)
            self._tls = find_tls(os.environ, found.session_dir)
        except CredentialError as error:
            raise RayStateApiException(str(error)) from error

    def get_address(self) -> str:
        return ",".join(self._addresses)

    def get_version(self) -> str:
        import ray

        return ray.__version__

    def node_infos(self, timeout_s: float) -> builtins.list[Any]:
        """The cluster's own records of its nodes, which say more than the table."""
        with self._source(timeout_s) as source:
            infos: builtins.list[Any] = source.node_infos()
            return infos

    def list(
        self,
        resource: StateResource,
        options: ListApiOptions,
        raise_on_missing_output: bool,
        _explain: bool = False,
    ) -> builtins.list[Any]:
        """Rows of a table, by id. A cut at the limit is told as a warning; with _explain also what is missing.

        raises: RayStateApiException when the cluster does not answer, for an unknown filter column, and with
        raise_on_missing_output when a part of the cluster could not be asked.
        """
        from manta_common.state_filter import StateFilter

        conditions = [StateFilter(key, str(value), unequal=op == "!=") for key, op, value in options.filters or ()]
        with self._source(options.timeout) as source:
            listing = source.listing(resource, conditions, options.limit)
        if listing.warnings and raise_on_missing_output and resource is not StateResource.TASKS:
            raise RayStateApiException(
                f"{'; '.join(listing.warnings)}. With raise_on_missing_output=False the rest is returned."
            )
        if len(listing.rows) < listing.matched:
            warnings.warn(
                f"Limit: {len(listing.rows)} of {listing.matched} {resource.value} are returned; use filters, or a "
                f"higher limit (at most {RAY_MAX_LIMIT_FROM_API_SERVER})",
                stacklevel=2,
            )
        for text in listing.warnings if _explain else ():
            warnings.warn(text, stacklevel=2)
        if not options.detail:
            for row in listing.rows:
                for name in row.detail_columns():
                    setattr(row, name, None)
        rows: builtins.list[Any] = listing.rows
        return rows

    def get(
        self, resource: StateResource, id: str, options: GetApiOptions | None = None, _explain: bool = False
    ) -> Any:
        """The row of that id, or None. Of tasks that were repeated and of objects all rows, as a list."""
        column = ID_COLUMNS.get(resource)
        if column is None:
            raise RayStateApiException(f"{resource.value} have no ids to be got by; list them instead")
        options = options or GetApiOptions()
        wanted = ListApiOptions(
            limit=RAY_MAX_LIMIT_FROM_API_SERVER, timeout=options.timeout, detail=True, filters=[(column, "=", id)]
        )
        rows = self.list(resource, wanted, raise_on_missing_output=False, _explain=_explain)
        if resource is StateResource.OBJECTS:
            return rows
        if resource is StateResource.TASKS and len(rows) > 1:
            return sorted(rows, key=lambda row: row.attempt_number)
        return rows[0] if rows else None

    def summary(
        self,
        resource: SummaryResource,
        *,
        options: SummaryApiOptions,
        raise_on_missing_output: bool,
        _explain: bool = False,
    ) -> dict[str, Any]:
        """Counts of a table, under the key "cluster"."""
        from ray.util.state.summaries import actor_summary, object_summary, task_summary

        with self._source(options.timeout) as source:
            if resource is SummaryResource.TASKS:
                return {"cluster": task_summary(source.task_summary())}
            listing = source.listing(StateResource(resource.value), (), RAY_MAX_LIMIT_FROM_API_SERVER)
        if listing.warnings and raise_on_missing_output:
            raise RayStateApiException("; ".join(listing.warnings))
        summarize = object_summary if resource is SummaryResource.OBJECTS else actor_summary
        return {"cluster": summarize(listing.rows)}

    @contextmanager
    def _source(self, timeout_s: float) -> Iterator[Any]:
        from ray._tools.gcs_tool import GcsTool, GcsToolError
        from ray._tools.raylet_tool import RayletTool
        from ray.util.state.cluster_source import ClusterSource, calling_thread_waits

        try:
            with (
                calling_thread_waits(),
                GcsTool(self._addresses, self._token, tls=self._tls, gcs_timeout_s=timeout_s) as gcs,
            ):
                yield ClusterSource(gcs, RayletTool(self._token, self._tls, timeout_s))
        except GcsToolError as error:
            raise RayStateApiException(str(error)) from error


class _Lister(Protocol, Generic[R]):
    def __call__(
        self,
        address: str | None = None,
        filters: Filters | None = None,
        limit: int = DEFAULT_LIMIT,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        detail: bool = False,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> list[R]: ...


class _Getter(Protocol, Generic[R_co]):
    def __call__(
        self,
        id: str,
        address: str | None = None,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        _explain: bool = False,
    ) -> R_co: ...


class _Summarizer(Protocol):
    def __call__(
        self,
        address: str | None = None,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> dict[str, Any]: ...


def _lister(resource: StateResource, record: type[R]) -> _Lister[R]:
    def list_rows(
        address: str | None = None,
        filters: Filters | None = None,
        limit: int = DEFAULT_LIMIT,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        detail: bool = False,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> list[R]:
        options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
        return StateApiClient(address).list(resource, options, raise_on_missing_output, _explain)

    return _named(
        list_rows, f"list_{resource.value}", f"Rows of the table of {resource.value}; see StateApiClient.list."
    )


def _getter(resource: StateResource, name: str, record: type[R_co]) -> _Getter[R_co | None]:
    def get_row(
        id: str,
        address: str | None = None,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        _explain: bool = False,
    ) -> R_co | None:
        row: R_co | None = StateApiClient(address).get(resource, id, GetApiOptions(timeout=timeout), _explain)
        return row

    return _named(get_row, name, f"The row of {resource.value} with this id; see StateApiClient.get.")


def _summarizer(resource: SummaryResource) -> _Summarizer:
    def summarize(
        address: str | None = None,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> dict[str, Any]:
        options = SummaryApiOptions(timeout=timeout)
        return StateApiClient(address).summary(
            resource, options=options, raise_on_missing_output=raise_on_missing_output, _explain=_explain
        )

    return _named(summarize, f"summarize_{resource.value}", f"Counts of {resource.value}; see StateApiClient.summary.")


_F = TypeVar("_F")


def _named(function: _F, name: str, doc: str) -> _F:
    for attribute, value in (("__name__", name), ("__qualname__", name), ("__doc__", doc)):
        setattr(function, attribute, value)
    return function


# detail: without it the columns that only details have are None. limit: rows, at most 10,000. timeout: seconds.
list_actors = _lister(StateResource.ACTORS, ActorState)
list_cluster_events = _lister(StateResource.CLUSTER_EVENTS, ClusterEventState)
list_jobs = _lister(StateResource.JOBS, JobState)
list_nodes = _lister(StateResource.NODES, NodeState)
list_objects = _lister(StateResource.OBJECTS, ObjectState)
list_placement_groups = _lister(StateResource.PLACEMENT_GROUPS, PlacementGroupState)
list_runtime_envs = _lister(StateResource.RUNTIME_ENVS, RuntimeEnvState)
list_tasks = _lister(StateResource.TASKS, TaskState)
list_workers = _lister(StateResource.WORKERS, WorkerState)
get_actor = _getter(StateResource.ACTORS, "get_actor", ActorState)
get_job = _getter(StateResource.JOBS, "get_job", JobState)
get_node = _getter(StateResource.NODES, "get_node", NodeState)
get_objects = _getter(StateResource.OBJECTS, "get_objects", list)
get_placement_group = _getter(StateResource.PLACEMENT_GROUPS, "get_placement_group", PlacementGroupState)
get_task = _getter(StateResource.TASKS, "get_task", TaskState)
get_worker = _getter(StateResource.WORKERS, "get_worker", WorkerState)
summarize_actors = _summarizer(SummaryResource.ACTORS)
summarize_objects = _summarizer(SummaryResource.OBJECTS)
summarize_tasks = _summarizer(SummaryResource.TASKS)
