"""The folders under which sessions and their sockets live."""

import os
from collections.abc import Mapping

from ray._supervisor.socket_folder import IN_SESSION


def default_temp_root(env: Mapping[str, str]) -> str:
    """$MANTA_TMPDIR, else $RAY_TMPDIR, else /tmp/manta-<uid>; absolute."""
    chosen = env.get("MANTA_TMPDIR") or env.get("RAY_TMPDIR") or f"/tmp/manta-{os.geteuid()}"
    return os.path.abspath(os.path.expanduser(chosen))


def socket_parent(chosen: str) -> str:
    """What a user gave as --socket-dir or MANTA_SOCKET_DIR, absolute if it is a path; empty: the supervisor chooses."""
    return chosen if chosen in ("", IN_SESSION) else os.path.abspath(os.path.expanduser(chosen))
