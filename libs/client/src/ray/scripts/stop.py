"""`ray stop`: ends every node of this user on this machine."""

import os
import select
import signal
import time

import click

from ray._node.temp_root import default_temp_root
from ray._supervisor.registry import Entry, running


@click.command()
@click.option("-f", "--force", is_flag=True, help="SIGKILL at once instead of SIGTERM first.")
@click.option("-g", "--grace-period", type=float, default=16.0, show_default=True, help="Seconds before SIGKILL.")
def stop(force: bool, grace_period: float) -> None:
    """End all nodes of this user on this machine, also those of ray.init()."""
    nodes = running(default_temp_root(os.environ))
    if not nodes:
        click.echo("Did not find any active Ray processes.")
        return
    _signal(nodes, signal.SIGKILL if force else signal.SIGTERM)
    left = _wait(nodes, grace_period)
    if left:
        # Its services end with it.
        _signal(left, signal.SIGKILL)
        _wait(left, grace_period)
        pids = ", ".join(str(node.pid) for node in left)
        click.echo(f"{len(left)} of them did not end within {grace_period:g} s and were killed: {pids}", err=True)
    for node in nodes:
        click.echo(f"Stopped {'head' if node.head else 'node'} (supervisor pid {node.pid}), logs in {node.session_dir}")
        os.close(node.pidfd)
    click.echo(f"Stopped all {len(nodes)} Ray node{'s' if len(nodes) > 1 else ''} of this user.")


def _signal(nodes: list[Entry], number: int) -> None:
    for node in nodes:
        try:
            signal.pidfd_send_signal(node.pidfd, number)
        except ProcessLookupError:
            continue  # it has just ended by itself


def _wait(nodes: list[Entry], limit_s: float) -> list[Entry]:
    """returns: those that are still there after the limit."""
    deadline = time.monotonic() + limit_s
    waiting = {node.pidfd: node for node in nodes}
    while waiting:
        poll = select.poll()
        for pidfd in waiting:
            poll.register(pidfd, select.POLLIN)
        ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ended:
            break
        for pidfd, _ in ended:
            del waiting[pidfd]
    return list(waiting.values())
