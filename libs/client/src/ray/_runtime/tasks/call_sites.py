"""Where in the user's code tasks and actors are made; recorded only when RAY_record_task_actor_creation_sites asks."""

from __future__ import annotations

import sys
import traceback
from types import FrameType
from typing import Final

from manta_proto.gcs.v1 import task_pb2

from ray._own_code import is_ours
from ray._runtime.execution.execution import USER_CODE_BEGINS
from ray._runtime.specs.task_kind import TaskKind

# Of one function; calls from further places are told without one.
SITES_LIMIT: Final = 1_000
_FRAMES_LIMIT: Final = 20


def call_site() -> str:
    """The calling stack down to the user's call, as a traceback shows it; the innermost frames. cost: some 50 us."""
    frames: list[tuple[FrameType, int]] = []
    frame: FrameType | None = sys._getframe(1)
    # In a worker, what is above the task is no code of the user's.
    while frame is not None and len(frames) < _FRAMES_LIMIT and frame.f_code not in USER_CODE_BEGINS:
        if not is_ours(frame.f_code.co_filename):
            frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return "".join(traceback.StackSummary.extract(reversed(frames)).format())


def kind_from_here(kind: TaskKind) -> TaskKind:
    """The kind of those of its tasks that are made where this one is."""
    site = call_site()
    if kind.sites is None:
        kind.sites = {}
    found = kind.sites.get(site)
    if found is None:
        if len(kind.sites) >= SITES_LIMIT:
            return kind
        message = task_pb2.TaskKind()
        message.CopyFrom(kind.message)
        message.call_site = site
        found = kind.sites[site] = TaskKind(message)
    return found
