"""What task events cost: CPU microseconds for a task that is over within the second, step by step, without a cluster.

Run as `python benchmarks/task_event_cost.py`. Owner, raylet and GCS run here one after another, on the real code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

from manta_gcs.tasks.task_table import TaskTable
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.specs.task_kind import TaskKind
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks.task_events import TaskEvents
from ray._runtime.transport.carrier import Peer

TASKS = 20_000
ROUNDS = 5


def main() -> None:
    sent: list[bytes] = []
    process = SimpleNamespace(
        ids=SimpleNamespace(own=b"d" * 24),
        is_driver=True,
        closing=False,
        lock=threading.Lock(),
        reactor=SimpleNamespace(call_later=lambda delay, call: None, call_soon=lambda call: None),
        submitter=SimpleNamespace(pending={}),
        executor=SimpleNamespace(lane=SimpleNamespace(running=list)),
        identity=SimpleNamespace(address=lambda: common_pb2.WorkerAddress(worker_id=b"o" * 28)),
        raylet=SimpleNamespace(send=lambda kind, payload: sent.append(payload)),
    )
    events = TaskEvents(process)  # type: ignore[arg-type]
    kind = TaskKind(task_pb2.TaskKind(name="f", function="f", job_id=b"job1"))
    worker = Peer(b"w" * 28, b"n" * 28, lambda peer: None)
    reply = worker_pb2.TaskReply(execution_us=12)
    records = [TaskRecord(number.to_bytes(24, "big"), "f", 1, None, None, Timing(), 3) for number in range(TASKS)]
    table = TaskTable()

    def submitted() -> None:
        for record in records:
            events.begun(record, kind)

    def pushed() -> None:
        for record in records:
            record.sent_to, record.sent_at = worker, 1.0

    def ended() -> None:
        for record in records:
            if record.kind is not None:
                events.ended(record, reply)

    def relayed_and_kept() -> None:
        relayed = task_pb2.TaskEvents.FromString(sent[-1]).SerializeToString()
        table.take(task_pb2.TaskEvents.FromString(relayed))

    def nothing() -> None:
        for _ in records:
            pass

    steps = {"submitted": submitted, "pushed": pushed, "ended": ended, "told": events.tell}
    steps["relayed and kept"] = relayed_and_kept
    loop = min(_microseconds(nothing) for _ in range(ROUNDS))
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            best[name] = min(best[name], _microseconds(step))
    for name in ("submitted", "pushed", "ended"):
        best[name] -= loop
    for name, cost in best.items():
        print(f"{name:18} {cost:5.2f} us")
    print(f"{'all':18} {sum(best.values()):5.2f} us")


def _microseconds(step: Callable[[], None]) -> float:
    started = time.thread_time()
    step()
    return (time.thread_time() - started) / TASKS * 1e6


if __name__ == "__main__":
    main()
