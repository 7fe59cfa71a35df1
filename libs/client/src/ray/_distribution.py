"""Which distribution this `ray` is, and what to tell a user whose environment mixes it up with another."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

# The API level that programs compare with, and our own version as its local part.
VERSION = "2.60.0+manta.0.1.0"

_HERE = os.path.dirname(os.path.abspath(__file__))


def find_upstream(folders: Iterable[str] | None = None) -> str | None:
    """The metadata folder of an installed wheel named `ray`, or None. cost: one listing per site-packages folder."""
    for folder in sys.path if folders is None else folders:
        if os.path.basename(folder) not in ("site-packages", "dist-packages"):
            continue
        try:
            names = os.listdir(folder)
        except OSError:  # on sys.path, but not there or not readable: nothing can be imported from it either
            continue
        for name in names:
            if name.startswith("ray-") and name.endswith((".dist-info", ".egg-info")):
                return os.path.join(folder, name)
    return None


def conflict_message(metadata_folder: str) -> str:
    """What to do when upstream's wheel and this one share an environment."""
    name, _, version = os.path.basename(metadata_folder).rpartition(".")[0].partition("-")
    return (
        f"Both {name} {version} ({metadata_folder}) and manta-client ({_HERE}) are installed, and both are imported "
        f"as 'ray'. Keep one: to use Manta, run 'pip uninstall ray' and then 'pip install --force-reinstall "
        f"manta-client'; to use the other, run 'pip uninstall manta-client' and then 'pip install --force-reinstall "
        f"ray=={version}'."
    )


def explain_import_failure(error: ImportError) -> str | None:
    """Words for a failed import of `manta_common` or `manta_proto`; None when another module is missing."""
    part = (error.name or "").partition(".")[0]
    if part not in ("manta_common", "manta_proto"):
        return None
    return f"'import ray' needs {error.name!r}, which is not installed; run 'pip install manta-client' again."


def commit() -> str:
    """The commit this package was built or checked out from, or "unknown"."""
    folder = _HERE
    while folder != os.path.dirname(folder):
        head = os.path.join(folder, ".git", "HEAD")
        if os.path.isfile(head):
            return _read_head(os.path.join(folder, ".git"))
        folder = os.path.dirname(folder)
    return "unknown"


def _read_head(git: str) -> str:
    try:
        with open(os.path.join(git, "HEAD")) as file:
            head = file.read().strip()
        if not head.startswith("ref: "):
            return head
        with open(os.path.join(git, head[5:])) as file:
            return file.read().strip()
    except OSError:  # a packed or absent branch
        return "unknown"
