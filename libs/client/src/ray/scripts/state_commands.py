"""`ray list`, `ray get` and `ray summary`: the state tables on the command line."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import click

from ray.scripts.cluster import address_option

_FORMATS: Final = click.Choice(["default", "json", "yaml", "table"])
_LISTS: Final = (
    "actors",
    "jobs",
    "placement-groups",
    "nodes",
    "workers",
    "tasks",
    "objects",
    "runtime-envs",
    "cluster-events",
)
_GETS: Final = ("actors", "placement-groups", "nodes", "workers", "tasks", "objects", "jobs")
_RULE: Final = "-" * 30
_SUMMARY_RULE: Final = "-" * 36

_timeout = click.option("--timeout", default=30, show_default=True, help="Seconds for the cluster to answer.")


@click.command("list")
@click.argument("resource", type=click.Choice(_LISTS))
@click.option("--format", "form", type=_FORMATS, default="default", help="How the rows are printed.")
@click.option(
    "-f",
    "--filter",
    "conditions",
    multiple=True,
    help="column=value or column!=value; given several times all must hold. The case of values does not count.",
)
@click.option("--limit", type=int, default=100, show_default=True, help="Rows at most; 10,000 is the highest.")
@click.option("--detail", is_flag=True, help="All columns, as YAML unless another format is given.")
@_timeout
@address_option
def list_command(
    resource: str,
    form: str,
    conditions: tuple[str, ...],
    limit: int,
    detail: bool,
    timeout: int,
    address: str | None,
) -> None:
    """List the rows of a table of the cluster's state: actors, tasks, nodes ..."""
    from ray.util.state.common import RECORDS, ListApiOptions, StateResource

    table = StateResource(resource.replace("-", "_"))
    with _told() as client_of:
        filters: Any = [_condition(text) for text in conditions]
        options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
        rows = client_of(address).list(table, options, raise_on_missing_output=False, _explain=True)
    record = RECORDS[table]
    columns = record.list_columns(detail)
    shown = [{name: row[name] for name in columns} for row in rows]
    if form == "json":
        click.echo(json.dumps(shown))
    elif form == "yaml" or (form == "default" and detail):
        click.echo(_yaml([_sorted(record.humanify(row)) for row in shown] or "No resource in the cluster"))
    else:
        click.echo(_table([record.humanify(row) for row in shown], columns))


@click.command("get")
@click.argument("resource", type=click.Choice(_GETS))
@click.argument("id")
@_timeout
@address_option
def get_command(resource: str, id: str, timeout: int, address: str | None) -> None:
    """Show all that is known of one actor, task, node ..., by its id."""
    from ray.util.state.common import RECORDS, GetApiOptions, StateResource

    table = StateResource(resource.replace("-", "_"))
    with _told() as client_of:
        found = client_of(address).get(table, id, GetApiOptions(timeout=timeout), _explain=True)
    if found is None:
        raise click.ClickException(f"no row of {resource} has the id {id}")
    rows = found if isinstance(found, list) else [found]
    shown = [_sorted(RECORDS[table].humanify(row.asdict())) for row in rows]
    click.echo(_yaml(shown if isinstance(found, list) else shown[0]))


@click.group("summary")
def summary_command() -> None:
    """Show counts by function, class or place."""


@summary_command.command("tasks")
@_timeout
@address_option
def summary_tasks(timeout: int, address: str | None) -> None:
    """Tasks by function and state."""
    _summarize("tasks", "func_name", ("func_or_class_name", "state_counts", "type"), timeout, address)


@summary_command.command("actors")
@_timeout
@address_option
def summary_actors(timeout: int, address: str | None) -> None:
    """Actors by class and state."""
    _summarize("actors", "class", ("class_name", "state_counts"), timeout, address)


@summary_command.command("objects")
@_timeout
@address_option
def summary_objects(timeout: int, address: str | None) -> None:
    """Objects by where their references were made."""
    columns = (
        *("callsite", "total_objects", "total_size_mb", "total_num_workers", "total_num_nodes"),
        *("task_state_counts", "ref_type_counts"),
    )
    _summarize("objects", "callsite", columns, timeout, address)


def _summarize(resource: str, grouped_by: str, columns: tuple[str, ...], timeout: int, address: str | None) -> None:
    from ray.util.state.common import SummaryApiOptions, SummaryResource

    with _told() as client_of:
        answer = client_of(address).summary(
            SummaryResource(resource), options=SummaryApiOptions(timeout=timeout), raise_on_missing_output=False
        )["cluster"]
    from ray.scripts.table_text import table_text

    totals = [f"{name}: {count}" for name, count in sorted(answer.items()) if name.startswith("total_")]
    rows = [{"callsite": key, **row} for key, row in answer["summary"].items()]
    rows.sort(key=lambda row: -sum(row.get("state_counts", {}).values()))
    lines = [
        f"======== {resource.capitalize()} Summary: {datetime.now()} ========",
        *("Stats:", _SUMMARY_RULE, *totals, ""),
        *(f"Table (group by {grouped_by}):", _SUMMARY_RULE),
        table_text(rows, columns),
    ]
    click.echo("\n".join(lines))


def _table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    from ray.scripts.table_text import table_text

    lines = ["", f"======== List: {datetime.now()} ========", "Stats:", _RULE, f"Total: {len(rows)}", ""]
    return "\n".join([*lines, "Table:", _RULE, table_text(rows, columns) if rows else "No resource in the cluster"])


def _yaml(value: Any) -> str:
    from ray.scripts.yaml_text import yaml_text

    return yaml_text(value)


def _sorted(row: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(row.items()))


def _condition(text: str) -> tuple[str, str, str]:
    """raises: click.BadParameter."""
    column, equals, value = text.partition("=")
    if not equals or not column.strip("! "):
        raise click.BadParameter(f"{text!r} is neither column=value nor column!=value", param_hint="--filter")
    return column.rstrip("! ").strip(), "!=" if column.endswith("!") else "=", value.strip()


@contextmanager
def _told() -> Iterator[Callable[[str | None], Any]]:
    """Give what makes a client; show warnings as lines, and errors as errors of the command."""
    from ray.util.state.api import StateApiClient
    from ray.util.state.exception import RayStateApiException

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield lambda address: StateApiClient(address or os.environ.get("RAY_ADDRESS"))
        except (ConnectionError, ValueError, RayStateApiException) as error:
            raise click.ClickException(str(error)) from error
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)
