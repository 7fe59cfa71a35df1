"""The `ray` command group; each command has a module of its own."""

import click

from ray import _distribution
from ray.scripts.drain_node import drain_node
from ray.scripts.logs import logs
from ray.scripts.start import start
from ray.scripts.state_commands import get_command, list_command, summary_command
from ray.scripts.status import status
from ray.scripts.stop import stop
from ray.scripts.timeline import timeline


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_distribution.VERSION, "--version", message="%(prog)s, version %(version)s")
def cli() -> None:
    """Start and stop nodes of a Manta cluster on this machine, and look at the cluster."""


COMMANDS = (start, stop, status, drain_node, list_command, get_command, summary_command, logs, timeline)
for command in COMMANDS:
    cli.add_command(command)
