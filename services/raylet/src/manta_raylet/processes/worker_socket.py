"""The socket that a worker or driver has bound in the node's folder, once its process is no more."""

from __future__ import annotations

import os

from manta_common.channel.paths import at_short_path
from manta_common.ids import WorkerId, short
from manta_common.logs import get

_log = get("manta_raylet.sockets")


def remove_socket(node_dir: str, worker_id: WorkerId) -> None:
    """Of one that has said hello: who does so is bound to that name, so it is nobody else's. cost: an unlink.

    Processes end by _exit or a signal and leave it: a name that is taken, and memory where the folder is in memory.
    """
    path = os.path.join(node_dir, short(worker_id))
    try:
        at_short_path(os.unlink, path)
    except FileNotFoundError:
        return  # it ended in order
    except OSError as error:
        _log.warning("socket_not_removed", path=path, error=str(error))
