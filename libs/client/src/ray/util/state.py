"""The state API: what runs in the cluster, as tables. Not there yet: every function says so."""

from __future__ import annotations

from typing import NoReturn

SupportsValue = str | bool | int | float


def list_actors(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_actors")


def list_cluster_events(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_cluster_events")


def list_jobs(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_jobs")


def list_nodes(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_nodes")


def list_objects(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_objects")


def list_placement_groups(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_placement_groups")


def list_runtime_envs(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_runtime_envs")


def list_tasks(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_tasks")


def list_workers(
    address: str | None = None,
    filters: list[tuple[str, str, SupportsValue]] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> NoReturn:
    _not_there_yet("list_workers")


def get_actor(id: str, address: str | None = None, timeout: int = 30, _explain: bool = False) -> NoReturn:
    _not_there_yet("get_actor")


def get_job(id: str, address: str | None = None, timeout: int = 30, _explain: bool = False) -> NoReturn:
    _not_there_yet("get_job")


def get_node(id: str, address: str | None = None, timeout: int = 30, _explain: bool = False) -> NoReturn:
    _not_there_yet("get_node")


def get_objects(id: str, address: str | None = None, timeout: int = 30, _explain: bool = False) -> NoReturn:
    _not_there_yet("get_objects")


def get_placement_group(id: str, address: str | None = None, timeout: int = 30, _explain: bool = False) -> NoReturn:
    _not_there_yet("get_placement_group")


def get_task(id: str, address: str | None = None, timeout: int = 30, _explain: bool = False) -> NoReturn:
    _not_there_yet("get_task")


def get_worker(id: str, address: str | None = None, timeout: int = 30, _explain: bool = False) -> NoReturn:
    _not_there_yet("get_worker")


def summarize_actors(
    address: str | None = None, timeout: int = 30, raise_on_missing_output: bool = True, _explain: bool = False
) -> NoReturn:
    _not_there_yet("summarize_actors")


def summarize_objects(
    address: str | None = None, timeout: int = 30, raise_on_missing_output: bool = True, _explain: bool = False
) -> NoReturn:
    _not_there_yet("summarize_objects")


def summarize_tasks(
    address: str | None = None, timeout: int = 30, raise_on_missing_output: bool = True, _explain: bool = False
) -> NoReturn:
    _not_there_yet("summarize_tasks")


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: int = 30,
) -> NoReturn:
    _not_there_yet("list_logs")


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = 30,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> NoReturn:
    _not_there_yet("get_log")


def _not_there_yet(what: str) -> NoReturn:
    from ray.exceptions import RaySystemError

    raise RaySystemError(f"ray.util.state.{what}() is not supported yet; ray.nodes() and `ray status` are there")
