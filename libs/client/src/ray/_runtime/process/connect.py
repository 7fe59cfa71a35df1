"""Connecting a driver: find its raylet, register its job, start its reading thread; and leaving again."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from manta_common.credentials import Token, find_tls, find_token
from manta_common.ids import new_worker_id
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.raylet.v1 import raylet_pb2

from ray._runtime import current
from ray._runtime.loop.io_thread import IoThread
from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reading import Reading
from ray._runtime.process.driver_logs import LogPrinter, OutputOptions
from ray._runtime.process.metric_table import TABLE
from ray._runtime.process.process import Process
from ray._runtime.transport.carrier import Identity
from ray._runtime.transport.gcs_client import GcsClient
from ray._runtime.transport.socket_channel import SocketChannel

if TYPE_CHECKING:
    from ray._driver_options import DriverOptions
    from ray._node import ClusterAddress

log = logging.getLogger("ray.runtime")

CONNECT_TIMEOUT_S = 30.0
# For the last output of workers, when a driver leaves.
_OUTPUT_S = 1.0
_NO_JOB = b"\0" * 4
# How long after one that came at a bad moment Ctrl-C comes again.
_AGAIN_S = 0.002
# What an exception in the middle of would leave half done for the other threads: a token or lock that nobody gives
# back, a frame that was counted and not sent, waiters that nobody wakes.
_WHOLE = frozenset(
    function.__code__
    for function in (
        Reading.try_take,
        Reading.leave,
        SocketChannel.flush,
        SocketChannel.close,
        Process.after_lock,
    )
)


class Driver(Process):
    """A connected driver: its Process, its reading thread and the printer of its workers' output."""

    def __init__(
        self,
        identity: Identity,
        node: common_pb2.NodeInfo,
        job: gcs_pb2.JobRecord,
        output: OutputOptions,
        **addresses: Any,
    ) -> None:
        super().__init__(is_driver=True)
        self.prepare(
            identity,
            socket_dir=node.socket_dir,
            object_manager_socket=os.path.join(node.socket_dir, "object-manager.sock"),
            session_dir=node.session_dir,
            namespace=job.ray_namespace,
            ip_address=node.ip_address,
            runtime_env=job.runtime_env,
            job_config=job.config,
            **addresses,
        )
        self.become(identity.worker_id)
        prefix = "py_logging_config" not in job.config
        self._printer = LogPrinter(node.ip_address, self.reactor.call_later, output, prefix=prefix)
        self._interrupted: Any = None
        self._pid = os.getpid()

    def start(self, log_to_driver: bool, timeout_s: float) -> None:
        """Say hello to the raylet and wait for its answer. raises: TimeoutError; what a refusal says."""
        if log_to_driver:
            self.on_log_lines = self._printer.print
        self.on_raylet_lost = self._raylet_lost
        self.connect()
        self.reading.start()
        self._keep_interrupts_out()
        self.await_welcome(timeout_s)
        TABLE.connected(self)
        if log_to_driver:
            self.raylet.send(raylet_pb2.LOGS_WANTED, raylet_pb2.LogsWanted().SerializeToString())
            self.raylets.on_node = self._want_logs
            for known in list(self.raylets.nodes.values()):
                self._want_logs(known)

    def _raylet_lost(self, reason: str) -> None:
        """Without its raylet a driver can neither lease nor learn of deaths: everything that waits fails."""
        from ray.exceptions import LocalRayletDiedError

        log.error("raylet_lost reason=%s: the driver cannot go on; call ray.shutdown()", reason)
        error = LocalRayletDiedError(
            f"the raylet of this node is gone ({reason}); call ray.shutdown() and then ray.init() to go on elsewhere"
        )
        self.losses.cut_off(error)

    def _keep_interrupts_out(self) -> None:
        """A thread in get runs handlers: have Ctrl-C wait until they are done. Only where the default would be used."""
        on_main = threading.current_thread() is threading.main_thread()
        if not on_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        main = threading.get_ident()

        def interrupted(number: int, frame: FrameType | None) -> None:
            if self.reactor.defer_interrupt(lambda: signal.default_int_handler(number, None)):
                return
            if self.inside() or in_the_middle(frame):
                self.reactor.call_later(_AGAIN_S, lambda: signal.pthread_kill(main, number))
                return
            signal.default_int_handler(number, frame)

        self._interrupted = interrupted
        signal.signal(signal.SIGINT, interrupted)

    def let_interrupts_in(self) -> None:
        on_main = threading.current_thread() is threading.main_thread()
        if on_main and self._interrupted is not None and signal.getsignal(signal.SIGINT) is self._interrupted:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _want_logs(self, node: common_pb2.NodeInfo) -> None:
        """Workers of the job may run on any node: ask each raylet for their output."""
        if node.node_id == self.node_id or node.state == common_pb2.NodeInfo.DEAD:
            return
        link = self.raylets.of_node(node.node_id)
        if link is not None and not link.logs_wanted:
            link.logs_wanted = True
            link.send(raylet_pb2.LOGS_WANTED, raylet_pb2.LogsWanted().SerializeToString())

    def shutdown(self) -> None:
        """End the job and every connection and thread. In a forked child it does nothing."""
        if os.getpid() != self._pid or self.closing:
            return
        # A callback that calls the API now would connect anew, and wait for a lock under which we wait for its thread.
        current.set_leaving(True)
        try:
            self._leave()
        finally:
            current.set_leaving(False)

    def _leave(self) -> None:
        from ray.exceptions import RaySystemError

        current.set_runtime(None)
        TABLE.disconnected(self)
        self.task_events.tell()
        self._await_output()
        self.closing = True
        finished = self.gcs.request(finish_job=gcs_pb2.FinishJob(job_id=self.job_id))
        try:
            finished.result(2.0)
        except Exception as error:
            # The raylet sees our end by its pidfd and ends the job.
            log.debug("finish_job_not_answered error=%r", error)
        # Threads that still wait would wait for ever, and keep the program from ending.
        self.losses.cut_off(RaySystemError("ray.shutdown() was called before this was there"))
        self.reading.stop()
        self.let_interrupts_in()
        self._printer.close()
        super().shutdown()
        self.reactor.close()

    def _await_output(self) -> None:
        """What workers wrote before this moment is shown; a raylet that does not answer is not waited for long."""
        if self.on_log_lines is None:
            return
        links = [link for link in self.raylets.all() if link is self.raylet or link.logs_wanted]
        gate = Gate(len(links))
        for link in links:
            link.flush_logs(gate.one_ready)
        if links and not self.reading.wait(gate, _OUTPUT_S):
            log.debug("output_not_complete waited_s=%g", _OUTPUT_S)


def in_the_middle(frame: FrameType | None) -> bool:
    """Whether this frame, or one that called it, has to come to its end."""
    while frame is not None:
        if frame.f_code in _WHOLE:
            return True
        frame = frame.f_back
    return False


def connect_driver(address: ClusterAddress, options: DriverOptions) -> Driver:
    """Join the cluster as a driver.

    raises: ConnectionError when no GCS answers in time, or no raylet of the cluster runs on this machine;
    ValueError for a variable of the environment that cannot be used; AuthenticationError for a wrong token;
    CredentialError when none is found, or the settings of TLS are incomplete.
    """
    # Before anything is registered: it refuses variables that cannot be used.
    output = OutputOptions.read(os.environ)
    worker_id = new_worker_id()
    token = Token(options.token) if options.token else find_token(os.environ, session_dir=address.session_dir)
    # A cluster that this process has started itself is reached by nobody else, and has no TLS.
    tls = None if options.token else find_tls(os.environ, address.session_dir)
    addresses = list(address.gcs_addresses)
    io = IoThread()
    identity = Identity(common_pb2.DRIVER, b"", worker_id, _NO_JOB, token, "driver")
    gcs = GcsClient(io, identity, addresses, tls)
    try:
        node = _own_node(gcs, addresses, options)
        job = _register_job(gcs, node, worker_id, options)
    except BaseException:
        gcs.close()
        io.stop()
        raise
    identity.node_id, identity.job_id = node.node_id, job.job_id
    driver = Driver(identity, node, job, output, gcs=gcs, io=io, gcs_addresses=",".join(addresses), tls=tls)
    try:
        driver.start(options.log_to_driver, CONNECT_TIMEOUT_S)
    except BaseException:
        driver.shutdown()
        raise
    current.set_runtime(driver)
    return driver


def _own_node(gcs: GcsClient, addresses: Sequence[str], options: DriverOptions) -> common_pb2.NodeInfo:
    try:
        reply = gcs.call(CONNECT_TIMEOUT_S, list_nodes=gcs_pb2.ListNodes())
    except TimeoutError:
        raise ConnectionError(
            f"no GCS answered at {', '.join(addresses)} within {CONNECT_TIMEOUT_S:g} s; is the cluster running?"
        ) from None
    nodes = [item.info for item in reply.node_list.items if item.info.state == common_pb2.NodeInfo.ALIVE]
    here = [node for node in nodes if os.path.exists(os.path.join(node.socket_dir, "raylet.sock"))]
    if options.node_ip:
        here = [node for node in here if node.ip_address == options.node_ip]
    if not here:
        where = f"with the address {options.node_ip} " if options.node_ip else ""
        raise ConnectionError(
            f"none of the cluster's {len(nodes)} nodes {where}runs on this machine; start one with "
            f"`ray start --address={addresses[0]}` and connect again"
            + (
                f"; if one does, in another container: its sockets, in {nodes[0].socket_dir}, are not seen here"
                if nodes
                else ""
            )
        )
    return min(here, key=lambda node: (not node.is_head, node.node_id))


def _register_job(
    gcs: GcsClient, node: common_pb2.NodeInfo, worker_id: bytes, options: DriverOptions
) -> gcs_pb2.JobRecord:
    job = gcs_pb2.JobRecord(
        driver=common_pb2.WorkerAddress(node_id=node.node_id, worker_id=worker_id),
        driver_pid=os.getpid(),
        ray_namespace=options.namespace,
        entrypoint=options.entrypoint,
        config=options.job_config,
        sys_path=options.sys_path,
        working_directory=options.working_directory,
        runtime_env=options.runtime_env,
        metadata=options.metadata,
        started_at=time.time(),
        driver_ip=node.ip_address,
    )
    reply = gcs.call(CONNECT_TIMEOUT_S, register_job=gcs_pb2.RegisterJob(job=job))
    return reply.job_registered.job


def _drop_in_child() -> None:
    """A child that user code forks has our descriptors but none of our threads: it must not use them."""
    driver = current.runtime_or_none()
    if isinstance(driver, Driver):
        driver.drop_in_child()
        driver.let_interrupts_in()


# Once for the process: what is registered cannot be taken back when a driver leaves.
os.register_at_fork(after_in_child=_drop_in_child)
