"""What the cluster's system config says of this process, as its raylet tells it in its welcome."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ray._runtime.values import serialization

if TYPE_CHECKING:
    from manta_proto.raylet.v1 import raylet_pb2

    from ray._runtime.process.process import Process


@dataclass(frozen=True, slots=True)
class Tuning:
    """lease_idle_s: how long a lease without tasks is kept. retry_delay_s: before a task of a dead worker runs again.

    call_inline_bytes: what one call or one reply carries in its message together. metrics_interval_s: how often changes
    of user-defined metrics are told, 0: never.
    """

    lease_idle_s: float = 0.1
    retry_delay_s: float = 0.0
    call_inline_bytes: int = 10 * 1024 * 1024
    metrics_interval_s: float = 0.0


DEFAULT: Final = Tuning()
# A driver's own variable counts too, in a cluster that somebody else started.
_CREATION_SITES: Final = "RAY_record_task_actor_creation_sites"


def apply(process: Process, welcome: raylet_pb2.RayletWelcome) -> None:
    """Have the process do as its raylet says; before it submits or runs anything."""
    process.task_events.set_interval(welcome.task_event_interval_ms / 1000)
    if welcome.tuning.record_creation_sites or os.environ.get(_CREATION_SITES, "").lower() in ("1", "true"):
        process.task_events.record_call_sites()
    process.recovery.lineage.limit = welcome.max_lineage_bytes
    told = welcome.tuning
    serialization.inline.limit = (
        told.inline_bytes if told.HasField("inline_bytes") else serialization.DEFAULT_INLINE_LIMIT
    )
    process.tuning = Tuning(
        told.lease_idle_ms / 1000 if told.HasField("lease_idle_ms") else DEFAULT.lease_idle_s,
        told.retry_delay_ms / 1000 if told.HasField("retry_delay_ms") else DEFAULT.retry_delay_s,
        told.call_inline_bytes if told.HasField("call_inline_bytes") else DEFAULT.call_inline_bytes,
        welcome.metrics_interval_ms / 1000,
    )
