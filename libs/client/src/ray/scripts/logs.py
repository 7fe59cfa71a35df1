"""`ray logs`: names and lines of a node's log files."""

import os
from typing import Any

import click

from ray.scripts.cluster import address_option


@click.command()
@click.argument("glob", default="*")
@address_option
@click.option("--node-id", default=None, help="Node whose logs are meant. Default: the head.")
@click.option("--node-ip", default=None, help="The same, by address.")
@click.option("--actor-id", default=None, help="The log of this actor's worker.")
@click.option("--task-id", default=None, help="The log of this task's worker.")
@click.option("--pid", type=int, default=None, help="The log of the worker with this process id.")
@click.option("--attempt-number", type=int, default=0, show_default=True, help="With --task-id: which attempt.")
@click.option("--err", is_flag=True, help="Standard error instead of standard output, for a worker.")
@click.option("--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("--tail", type=int, default=1000, show_default=True, help="Only the last lines; -1: all.")
@click.option("--timeout", type=int, default=30, show_default=True, help="Seconds for the cluster to answer.")
def logs(glob: str, **given: Any) -> None:
    """List the log files that fit GLOB; print the one file that it names, or the log of an actor, task or pid."""
    from ray.util.state import get_log, list_logs
    from ray.util.state.exception import RayStateApiException

    address = given["address"] or os.environ.get("RAY_ADDRESS")
    where = {"address": address, "node_id": given["node_id"], "node_ip": given["node_ip"], "timeout": given["timeout"]}
    whose = {name: given[name] for name in ("actor_id", "task_id", "pid") if given[name] is not None}
    try:
        if not whose:
            found = list_logs(glob_filter=glob, **where)
            names = [name for files in found.values() for name in files]
            if len(names) != 1:
                _tell(found, glob)
                return
            whose = {"filename": names[0]}
        whose["suffix"] = "err" if given["err"] else "out"
        whose["attempt_number"] = given["attempt_number"]
        for line in get_log(**where, **whose, follow=given["follow"], tail=given["tail"], errors="replace"):
            click.echo(line, nl=False)
    except (ConnectionError, ValueError, RayStateApiException) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        return


def _tell(found: dict[str, list[str]], glob: str) -> None:
    if not found:
        click.echo(f"No log fits {glob!r}.")
    for category, names in found.items():
        click.echo(f"{category}:")
        for name in names:
            click.echo(f"  - {name}")
