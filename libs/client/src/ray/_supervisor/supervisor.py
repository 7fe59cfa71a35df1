"""Runs a node's services: carries out what the core decides, and tells it what happens."""

import json
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from . import core
from .command_line import Addresses, command_lines
from .orphans import adopt_orphans, kill_all_children
from .ports import ReservedPort
from .registry import register
from .service_process import ServiceError, ServiceProcess, last_lines
from .session import Session, publish_current_cluster, withdraw_current_cluster
from .spec import Spec


class Supervisor:
    """One node, from its session folder to the end of its last process."""

    def __init__(self, spec: Spec) -> None:
        """Make folders and reserve ports. raises: SessionError, PortTaken."""
        self._spec = spec
        self._lost = 0  # lines of the log
        self._began = time.monotonic()
        # Before any child exists, so that no end is missed.
        self._wakeup, self._wakeup_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._ports = [ReservedPort(spec.node_ip) for _ in range(5)]
        gcs = spec.gcs_addresses
        if spec.head:
            self._ports.append(ReservedPort(spec.node_ip, spec.gcs_port))
            gcs = (self._ports[-1].address,)
        self._addresses = Addresses(gcs, *(port.address for port in self._ports[:5]))
        self._session = Session(spec.temp_dir, spec.owner_pid or os.getpid(), spec.token, time.time(), spec.socket_dir)
        self._log("sockets_placed", folder=self._session.node_dir, reason=self._session.sockets.reason)
        for folder in self._session.sockets.removed:
            self._log("leftover_sockets_removed", folder=folder)
        if spec.tls_ca:
            self._session.keep_tls(spec.tls_ca, spec.tls_cert, spec.tls_key)
        os.chdir(self._session.folder)
        self._registration = register(
            spec.registry_dir, self._session.folder, daemon=spec.driver_fd < 0, head=spec.head
        )
        self._commands = command_lines(spec, self._session, self._addresses)
        self._core = core.Supervision(spec.services, start_timeout_s=spec.start_timeout_s, grace_s=spec.grace_s)
        self._queue: deque[core.Command] = deque()
        self._performing = False
        self._processes: dict[str, ServiceProcess] = {}
        self._ready_after_s: dict[str, float] = {}
        self._ready_fd = spec.ready_fd
        self._code: int | None = None

    def run(self) -> int:
        """Serve until the node has ended. returns: the exit code."""
        try:
            self._perform(self._core.begin(time.monotonic()))
            adopt_orphans()
            while self._code is None:
                self._wait()
                self._perform(self._core.tick(time.monotonic()))
            self._clean_up()
        except BaseException as error:
            # A daemon has no stderr; the services end with this process.
            self._log("supervisor_failed", error=repr(error))
            raise
        return self._code

    def _wait(self) -> None:
        """One round of the loop: sleep until something happens or is due, and tell the core."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if self._spec.driver_fd >= 0 and self._core.phase in (core.Phase.STARTING, core.Phase.RUNNING):
            poll.register(self._spec.driver_fd, select.POLLIN)
        readers = {process.ready_fd: process for process in self._processes.values() if process.ready_fd >= 0}
        for descriptor in readers:
            poll.register(descriptor, select.POLLIN)
        deadline = self._core.next_deadline()
        pause_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        for descriptor, _ in poll.poll(None if pause_s is None else pause_s * 1000 + 1):
            if descriptor == self._wakeup:
                self._take_signals()
            elif descriptor == self._spec.driver_fd:
                self._perform(self._core.stop("the driver has ended", time.monotonic()))
            else:
                self._take_ready(readers[descriptor])

    def _take_signals(self) -> None:
        numbers = os.read(self._wakeup, 4096)
        # A service that ended because of the signal that ends us must not be started again.
        for number in (signal.SIGTERM, signal.SIGINT):
            if number in numbers:
                self._perform(self._core.stop(f"signal {signal.Signals(number).name}", time.monotonic()))
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, process in list(self._processes.items()):
                if process.pid == pid:
                    process.close()
                    del self._processes[name]
                    self._perform(self._core.exited(name, os.waitstatus_to_exitcode(status), time.monotonic()))

    def _take_ready(self, process: ServiceProcess) -> None:
        try:
            ready = process.read_ready()
        except ServiceError as error:
            self._log("ready_line_malformed", service=process.name, error=str(error))
            process.signal(signal.SIGKILL)
            return
        if ready is not None:
            self._ready_after_s[process.name] = round(time.monotonic() - self._began, 3)
            self._perform(self._core.ready(process.name, time.monotonic()))

    def _perform(self, commands: list[core.Command]) -> None:
        # What follows from a command, such as a start that fails, comes after the commands that stand before it.
        self._queue.extend(commands)
        if self._performing:
            return
        self._performing = True
        while self._queue:
            match self._queue.popleft():
                case core.Start(name):
                    self._start(name)
                case core.Terminate(name):
                    self._signal(name, signal.SIGTERM)
                case core.Kill(name):
                    self._log("service_killed", service=name, grace_s=self._spec.grace_s)
                    self._signal(name, signal.SIGKILL)
                case core.Announce():
                    self._announce()
                case core.ReportFailure(name, reason):
                    self._report_failure(name, reason)
                case core.Note(event, name, detail):
                    self._log(event, service=name, detail=detail)
                case core.Finish(code):
                    self._code = code
        self._performing = False

    def _start(self, name: str) -> None:
        try:
            process = ServiceProcess(name, self._commands[name], self._spec.bin_dirs, self._session.log_file(name))
        except ServiceError as error:
            self._perform(self._core.failed_to_start(name, str(error), time.monotonic()))
            return
        self._processes[name] = process
        self._log("service_started", service=name, pid=process.pid)

    def _signal(self, name: str, number: int) -> None:
        process = self._processes.get(name)
        if process is not None:
            process.signal(number)

    def _announce(self) -> None:
        spec, session = self._spec, self._session
        if spec.head:
            record = {
                "gcs_addresses": list(self._addresses.gcs),
                "session_dir": session.folder,
                "supervisor_pid": os.getpid(),
                "daemon": spec.driver_fd < 0,
            }
            # In its own folder it is found by its address, also when another cluster is the latest.
            for folder in {spec.temp_dir, spec.registry_dir, session.folder}:
                publish_current_cluster(folder, record)
        self._report(
            {
                "ok": True,
                "supervisor_pid": os.getpid(),
                "gcs_addresses": list(self._addresses.gcs),
                "session_name": session.name,
                "session_dir": session.folder,
                "node_dir": session.node_dir,
                "token_file": session.token_file,
                "node_ip": spec.node_ip,
                "services": {
                    name: {**(process.ready or {}), "pid": process.pid, "log": session.log_file(name)}
                    for name, process in self._processes.items()
                },
                "ready_after_s": self._ready_after_s,
            }
        )
        self._log("node_ready", **{name.replace("-", "_") + "_s": value for name, value in self._ready_after_s.items()})

    def _report_failure(self, name: str, reason: str) -> None:
        log_file = self._session.log_file(name)
        self._log("node_failed", service=name, reason=reason)
        self._report(failure(reason, service=name, log=log_file, tail=last_lines(log_file)))

    def _report(self, message: Mapping[str, Any]) -> None:
        """Once: the first thing that there is to say decides."""
        if self._ready_fd >= 0:
            descriptor, self._ready_fd = self._ready_fd, -1
            report(descriptor, message)

    def _clean_up(self) -> None:
        kill_all_children()
        for port in self._ports:
            port.close()
        try:
            for folder in {self._spec.temp_dir, self._spec.registry_dir}:
                withdraw_current_cluster(folder, self._session.folder)
            if self._spec.keep_only_logs:
                self._session.remove_all_but_logs()
            else:
                self._session.sockets.remove()
            os.unlink(self._registration)
        except OSError as error:
            # Users can reach these files, too. The node has ended all the same.
            self._log("files_left", error=str(error))
        self._log("node_ended", code=self._code)

    def _log(self, event: str, **fields: Any) -> None:
        words = " ".join(f"{key}={value}" for key, value in fields.items() if value != "")
        now = time.time()
        moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}"
        if self._lost:
            words += f" lines_lost_before={self._lost}"
        try:
            with open(self._session.log_file("supervisor"), "a") as file:
                file.write(f"{moment}Z {event} {words}\n")
        except OSError:
            # A full disk, or no descriptor left, must not end the node. The next line tells of the loss.
            self._lost += 1
        else:
            self._lost = 0


def failure(reason: str, *, service: str = "supervisor", log: str = "", tail: str = "") -> dict[str, Any]:
    return {"ok": False, "service": service, "reason": reason, "log": log, "tail": tail}


def report(descriptor: int, message: Mapping[str, Any]) -> None:
    """One JSON line to whoever started us, then the end of the stream."""
    try:
        with open(descriptor, "w") as file:
            file.write(json.dumps(message) + "\n")
    except BrokenPipeError:
        print("manta-supervisor: nobody waits for the ready line any more", file=sys.stderr)
