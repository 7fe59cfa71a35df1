"""The console script. A service by itself, so it can leave numpy out, which pyarrow imports when it is there."""

from __future__ import annotations

import sys
from typing import Any


def main() -> None:
    """See main.py. Half of the import time and a fifth of the memory were numpy's, and nothing here makes arrays."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("numpy", None)
    from manta_object_manager.main import main as run

    run()
