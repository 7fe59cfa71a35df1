"""`ray status`: nodes, use of resources and demands of a cluster."""

import click

from ray.scripts.cluster import address_option


@click.command()
@address_option
@click.option("-v", "--verbose", is_flag=True, help="Show each node's use as well.")
def status(address: str | None, verbose: bool) -> None:
    """Show the nodes of a cluster, what is used of their resources, and what is asked for."""
    from ray.scripts.cluster import open_gcs
    from ray.scripts.status_text import status_text

    with open_gcs(address) as gcs:
        answer = gcs.status()
    click.echo(status_text(answer, verbose=verbose))
