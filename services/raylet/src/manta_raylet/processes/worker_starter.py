"""From the core's wish for a worker to a process: the message for the zygote, the pipes, the answer."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Protocol

from manta_common.credentials import TlsFiles, Token
from manta_common.ids import JobId, NodeId, WorkerId
from manta_common.version import PROTOCOL
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.zygote.v1 import zygote_pb2

from manta_raylet.kernel.lease import WorkerKey, env_vars_of
from manta_raylet.processes.worker_output import Sink, WorkerOutput
from manta_raylet.processes.zygote_link import ZygoteLink

CUDA_VISIBLE_DEVICES: Final = "CUDA_VISIBLE_DEVICES"
_NOSET: Final = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"
# A worker that starts takes them when it has been forked and when it connects: a pidfd and a socket.
_DESCRIPTORS_LATER: Final = 2
# For all that is not a worker: drivers, connections to other nodes, the log files of workers that are there. Without
# them a worker too many would harm others.
_SPARE_DESCRIPTORS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSurroundings:
    """What every worker of this node is told about where it lives."""

    raylet_socket: str
    object_manager_socket: str
    node_dir: str
    session_dir: str
    gcs_addresses: str
    node_ip: str
    raylet_pid: int
    token: Token
    log_dir: Path
    hides_gpus: bool
    tls: TlsFiles | None
    task_event_interval_ms: int
    metrics_interval_ms: int
    max_lineage_bytes: int
    kills_children: bool = True
    niceness: int = 0
    tuning: raylet_pb2.Tuning = field(default_factory=raylet_pb2.Tuning)


class StartEvents(Protocol):
    """Who hears what became of a start."""

    def worker_forked(self, worker_id: WorkerId, pid: int) -> None: ...
    def worker_start_failed(self, worker_id: WorkerId, message: str, lacks_room: bool = False) -> None: ...
    def worker_start_lost(self, worker_id: WorkerId) -> None: ...


class WorkerStarter:
    """Keeps the outputs of all workers, and which fork was asked for which worker."""

    def __init__(self, surroundings: WorkerSurroundings, events: StartEvents, sink: Sink) -> None:
        self._around = surroundings
        self._events = events
        self._sink = sink
        self._next = 1
        self._asked: dict[int, WorkerId] = {}
        self._outputs: dict[WorkerId, WorkerOutput] = {}

    def start(
        self,
        zygote: ZygoteLink,
        node_id: NodeId,
        worker_id: WorkerId,
        key: WorkerKey,
        job: gcs_pb2.JobRecord,
        starting: int,
    ) -> None:
        """Ask the zygote for the worker. starting: how many have not reported yet, this one too.

        raises: OSError when there are no descriptors for it, ValueError for a bad runtime env.
        """
        request = self._request(node_id, worker_id, key, job)
        spare = _SPARE_DESCRIPTORS + _DESCRIPTORS_LATER * starting
        output = WorkerOutput(worker_id, JobId(job.job_id), self._around.log_dir, self._sink, spare)
        self._outputs[worker_id] = output
        self._asked[request.request_id] = worker_id
        descriptors, output.write_ends = output.write_ends, []
        zygote.fork(request, descriptors)

    def read_output(self, job_id: JobId) -> None:
        """Take what the job's workers have written so far."""
        for output in list(self._outputs.values()):
            if output.is_of(job_id):
                output.read_now()

    def close_output(self, worker_id: WorkerId) -> list[str]:
        """The process is gone: read the rest. returns: the last lines of its standard error."""
        output = self._outputs.pop(worker_id, None)
        return output.close() if output is not None else []

    def forked(self, request_id: int, pid: int) -> None:
        worker_id = self._asked.pop(request_id, None)
        if worker_id is None:
            return
        output = self._outputs.get(worker_id)
        if output is not None:
            output.started(pid)
        self._events.worker_forked(worker_id, pid)

    def fork_failed(self, request_id: int, message: str, lacks_room: bool) -> None:
        worker_id = self._asked.pop(request_id, None)
        if worker_id is not None:
            self.close_output(worker_id)
            self._events.worker_start_failed(worker_id, message, lacks_room)

    def fork_lost(self, request_id: int) -> None:
        worker_id = self._asked.pop(request_id, None)
        if worker_id is not None:
            self.close_output(worker_id)
            self._events.worker_start_lost(worker_id)

    def close(self) -> None:
        for worker_id in list(self._outputs):
            self.close_output(worker_id)

    def _request(self, node_id: NodeId, worker_id: WorkerId, key: WorkerKey, job: gcs_pb2.JobRecord) -> zygote_pb2.Fork:
        around = self._around
        number = self._next
        self._next += 1
        runtime_env = key.runtime_env or job.runtime_env
        return zygote_pb2.Fork(
            request_id=number,
            worker_id=worker_id,
            node_id=node_id,
            job_id=key.job_id,
            raylet_socket=around.raylet_socket,
            object_manager_socket=around.object_manager_socket,
            socket_dir=around.node_dir,
            session_dir=around.session_dir,
            gcs_addresses=around.gcs_addresses,
            env=self._env(env_vars_of(runtime_env), key),
            niceness=around.niceness,
            working_directory=job.working_directory,
            sys_path=job.sys_path,
            num_threads=key.num_threads,
            runtime_env=runtime_env,
            ray_namespace=job.ray_namespace,
            ip_address=around.node_ip,
            token=around.token.value,
            raylet_pid=around.raylet_pid,
            job_config=job.config,
            version_major=PROTOCOL.major,
            version_minor=PROTOCOL.minor,
            welcome=worker_details(around, node_id),
            **({} if around.tls is None else {f"tls_{name}": path for name, path in asdict(around.tls).items()}),
        )

    def _env(self, env_vars: dict[str, str], key: WorkerKey) -> dict[str, str]:
        """Of the worker: the user's, its devices, and what upstream's workers find there besides."""
        env = worker_env(env_vars, key.gpu_ids, self._around.hides_gpus)
        env["RAY_JOB_ID"] = key.job_id.hex()
        env["RAY_RAYLET_PID"] = str(self._around.raylet_pid)
        if not self._around.kills_children:
            env["RAY_kill_child_processes_on_worker_exit"] = "0"
        return env


def worker_details(around: WorkerSurroundings, node_id: NodeId) -> bytes:
    """What all workers of the node are told in their welcome, the same for all: they are prepared for it."""
    details = raylet_pb2.RayletWelcome(
        node_id=node_id,
        task_event_interval_ms=around.task_event_interval_ms,
        metrics_interval_ms=around.metrics_interval_ms,
        max_lineage_bytes=around.max_lineage_bytes,
        tuning=around.tuning,
    )
    return details.SerializeToString(deterministic=True)


def is_true(text: str) -> bool:
    """As upstream reads a variable that turns something on."""
    return text.lower() in ("1", "true")


def worker_env(env_vars: dict[str, str], gpu_ids: tuple[str, ...], hides_gpus: bool) -> dict[str, str]:
    """The user's variables and the devices that the worker may see.

    The lease's devices win over the user's variable. hides_gpus: a worker without a lease on devices sees none, unless
    the user's variable says so. With RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES the variable stays as it is.
    """
    if is_true(env_vars.get(_NOSET, os.environ.get(_NOSET, ""))):
        return dict(env_vars)
    if gpu_ids:
        return {**env_vars, CUDA_VISIBLE_DEVICES: ",".join(gpu_ids)}
    return {CUDA_VISIBLE_DEVICES: "", **env_vars} if hides_gpus else dict(env_vars)
