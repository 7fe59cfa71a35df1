"""The folder under which sessions live."""

import os
from collections.abc import Mapping


def default_temp_root(env: Mapping[str, str]) -> str:
    """$MANTA_TMPDIR, else $RAY_TMPDIR, else /tmp/manta-<uid>; absolute."""
    chosen = env.get("MANTA_TMPDIR") or env.get("RAY_TMPDIR") or f"/tmp/manta-{os.geteuid()}"
    return os.path.abspath(os.path.expanduser(chosen))
