"""`ray status`: nodes, use of resources and demands of a cluster."""

import os

import click

from ray._node.address import find_address


@click.command()
@click.option("--address", default=None, help="GCS of the cluster. Default: RAY_ADDRESS, else the latest one here.")
@click.option("-v", "--verbose", is_flag=True, help="Show each node's use as well.")
def status(address: str | None, verbose: bool) -> None:
    """Show the nodes of a cluster, what is used of their resources, and what is asked for."""
    from manta.common.credentials import CredentialError, find_token

    from ray._runtime.gcs_tool import GcsTool, GcsToolError
    from ray.scripts.status_text import status_text

    try:
        found = find_address(address or os.environ.get("RAY_ADDRESS") or "auto")
        if found is None:
            raise click.ClickException("--address=local names no running cluster; give host:port or auto")
        with GcsTool(found.gcs_addresses, find_token(os.environ, session_dir=found.session_dir)) as gcs:
            answer = gcs.status()
    except (ConnectionError, ValueError, CredentialError, GcsToolError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(status_text(answer, verbose=verbose))
