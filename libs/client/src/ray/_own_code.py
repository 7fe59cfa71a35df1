"""Which code is ours: its frames say nothing to the user, and an interrupt must not hit it."""

from __future__ import annotations

import os
from typing import Final

import manta_common
import manta_proto

# With a separator at the end, so that a neighbour with a longer name is not taken for it.
PACKAGE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
RUNTIME: Final = os.path.join(PACKAGE, "_runtime") + os.sep
_PARTS: Final = (
    PACKAGE,
    *(os.path.join(os.path.abspath(part.__path__[0]), "") for part in (manta_common, manta_proto)),
)


def is_ours(filename: str) -> bool:
    """Whether a frame with this co_filename is of the client or of what it is built on."""
    return filename.startswith(_PARTS)
