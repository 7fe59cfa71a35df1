"""The cluster that a command is about."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ray._node.address import find_address

if TYPE_CHECKING:
    from ray._tools.gcs_tool import GcsTool

address_option = click.option(
    "--address", default=None, help="GCS of the cluster. Default: RAY_ADDRESS, else the latest one here."
)


@contextlib.contextmanager
def open_gcs(address: str | None) -> Iterator["GcsTool"]:
    """The GCS of that cluster. raises: click.ClickException for whatever keeps it from answering, inside too."""
    from manta_common.credentials import CredentialError, find_tls, find_token

    from ray._tools.gcs_tool import GcsTool, GcsToolError

    try:
        found = find_address(address or os.environ.get("RAY_ADDRESS") or "auto")
        if found is None:
            raise click.ClickException("--address=local names no running cluster; give host:port or auto")
        token, tls = find_token(os.environ, session_dir=found.session_dir), find_tls(os.environ, found.session_dir)
        with GcsTool(found.gcs_addresses, token, tls=tls) as gcs:
            yield gcs
    except (ConnectionError, ValueError, CredentialError, GcsToolError) as error:
        raise click.ClickException(str(error)) from error
