"""The `ray` command group; each command has a module of its own."""

import click

from ray import _distribution
from ray.scripts.drain_node import drain_node
from ray.scripts.start import start
from ray.scripts.status import status
from ray.scripts.stop import stop


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_distribution.VERSION, "--version", message="%(prog)s, version %(version)s")
def cli() -> None:
    """Start and stop nodes of a Manta cluster on this machine, and look at the cluster."""


for command in (start, stop, status, drain_node):
    cli.add_command(command)
