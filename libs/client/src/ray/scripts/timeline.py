"""`ray timeline`: what ran where and when, for chrome://tracing or Perfetto."""

import json
import os
import tempfile
from datetime import datetime

import click

from ray.scripts.cluster import address_option


@click.command()
@address_option
@click.option("-o", "--output", default=None, help="File to write. Default: one in the folder of temporary files.")
def timeline(address: str | None, output: str | None) -> None:
    """Write the latest tasks of a cluster as a chrome trace."""
    from ray.util.state.exception import RayStateApiException
    from ray.util.state.trace import chrome_trace

    try:
        trace = chrome_trace(address or os.environ.get("RAY_ADDRESS"))
    except (ConnectionError, ValueError, RayStateApiException) as error:
        raise click.ClickException(str(error)) from error
    path = output or os.path.join(tempfile.gettempdir(), f"ray-timeline-{datetime.now():%Y-%m-%d_%H-%M-%S}.json")
    with open(path, "w") as file:
        json.dump(trace, file)
    click.echo(f"Trace file written to {path}.")
    click.echo("Open it in chrome://tracing or https://ui.perfetto.dev.")
