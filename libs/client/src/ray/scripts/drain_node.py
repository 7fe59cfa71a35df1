"""`ray drain-node`: have a node finish what runs there, take nothing new, and leave."""

import os
from typing import TYPE_CHECKING

import click

from ray.scripts.cluster import address_option

if TYPE_CHECKING:
    from ray._tools.gcs_tool import GcsTool

_REASONS = ("DRAIN_NODE_REASON_IDLE_TERMINATION", "DRAIN_NODE_REASON_PREEMPTION")


@click.command("drain-node", hidden=True)
@address_option
@click.option("--node-id", default="", help="Hex id of the node. Default: the node of this machine.")
@click.option("--reason", type=click.Choice(_REASONS), required=True, help="IDLE_TERMINATION spares a busy node.")
@click.option("--reason-message", required=True, help="What people read about it.")
@click.option(
    "--deadline-remaining-seconds",
    type=click.IntRange(min=0),
    help="The node ends after that many seconds, whatever runs there. Default: when it is done.",
)
def drain_node(
    address: str | None, node_id: str, reason: str, reason_message: str, deadline_remaining_seconds: int | None
) -> None:
    """Drain a node: leased tasks finish, new ones go elsewhere, restartable actors move; then it leaves."""
    from manta_proto.gcs.v1 import gcs_pb2

    from ray.scripts.cluster import open_gcs

    if deadline_remaining_seconds == 0:
        raise click.ClickException("--deadline-remaining-seconds 0 leaves no time to drain; give 1 or more, or none")
    with open_gcs(address) as gcs:
        wanted = gcs_pb2.DrainNode(
            node_id=_node_id(node_id) if node_id else _own_node(gcs),
            reason=reason.removeprefix("DRAIN_NODE_REASON_"),
            message=reason_message,
            deadline_s=deadline_remaining_seconds or 0,
        )
        answer = gcs.ask(drain_node=wanted).node_drain
    if not answer.accepted:
        raise click.ClickException(f"the node is not drained: {answer.reason}")
    click.echo(f"Node {wanted.node_id.hex()} drains.")


def _node_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.ClickException(f"--node-id {text!r} is no hex id; `ray status` lists the nodes") from None


def _own_node(gcs: "GcsTool") -> bytes:
    """The node of this machine. Its sockets lie here."""
    infos = [item.info for item in gcs.nodes() if item.info.state != item.info.DEAD]
    here = [info for info in infos if os.path.exists(os.path.join(info.socket_dir, "raylet.sock"))]
    if len(here) != 1:
        raise click.ClickException(f"{len(here)} of the cluster's nodes run on this machine; choose one by --node-id")
    return here[0].node_id
