"""A node of this machine, as the process that started it sees it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ray._node.options import NodeOptions
from ray._node.resources import OVERRIDE_LABELS, Machine, Wanted, node_resources, override_of
from ray._node.temp_root import default_temp_root, socket_parent
from ray._supervisor import standard_descriptors

# The supervisor as its console script runs it, but without the site packages and without `import ray`, which it does
# not need: it imports only the standard library, and its own package by a path of its own.
_BOOTSTRAP: Final = "import sys; sys.path.append(sys.argv.pop(1)); from _supervisor.main import main; sys.exit(main())"
_READY_LIMIT: Final = 1 << 20
# Beyond the services' own grace, for the cleaning up.
_CLEAN_UP_S: Final = 5.0


class NodeStartError(RuntimeError):
    """A node that could not be started; the text has the reason and the end of the service's log."""


class LocalNode:
    """Handle of a running node. Only the process that made it can end it; in a forked child it does nothing."""

    def __init__(self, supervisor: "subprocess.Popen[bytes]", ready: Mapping[str, Any], options: NodeOptions) -> None:
        self._supervisor = supervisor
        self._owner_pid = os.getpid()
        self.options = options
        services = ready["services"]
        self.services: Mapping[str, Mapping[str, Any]] = services
        self.supervisor_pid: int = ready["supervisor_pid"]
        self.node_id = bytes.fromhex(services["raylet"]["node_id"])
        self.gcs_addresses: tuple[str, ...] = tuple(ready["gcs_addresses"])
        self.gcs_address: str = self.gcs_addresses[0]
        self.session_name: str = ready["session_name"]
        self.session_dir: str = ready["session_dir"]
        self.node_dir: str = ready["node_dir"]
        self.token_file: str = ready["token_file"]
        self.node_ip: str = ready["node_ip"]
        self.raylet_socket: str = services["raylet"]["socket"]
        self.object_manager_socket: str = services["object-manager"]["socket"]
        # Of the raylet's page, which has the metrics of user code.
        self.metrics_port = int(services["raylet"]["metrics"].rpartition(":")[2])
        self.ready_after_s: Mapping[str, float] = ready["ready_after_s"]
        with open(self.token_file, "rb") as file:
            self.token = file.read().strip()

    def is_alive(self) -> bool:
        return self._supervisor.poll() is None

    def stop(self) -> None:
        """End all processes of the node; idempotent. Takes as long as its services need, at most the graces."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node without a goodbye, as a loss of power would: its services, then the supervisor."""
        if os.getpid() == self._owner_pid and self._supervisor.poll() is None:
            pidfds = [
                pidfd for service in self.services if (pidfd := self._pidfd_of(service, self._child_pid(service))) >= 0
            ]
            # The supervisor's death is a SIGTERM to its services, at which a raylet says goodbye: so it goes last, and
            # sees nothing of their end.
            self._supervisor.send_signal(signal.SIGSTOP)
            for pidfd in pidfds:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            self._supervisor.kill()
            _wait_all(pidfds, _CLEAN_UP_S)
            self._supervisor.wait()

    def kill_raylet(self) -> None:
        """SIGKILL to the raylet; the supervisor then ends the rest of the node."""
        pidfd = self._pidfd_of("raylet", self._child_pid("raylet"))
        if pidfd >= 0:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _wait_all([pidfd], _CLEAN_UP_S)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the node to end. returns: whether it has."""
        if self._supervisor.poll() is not None:
            return True
        try:
            pidfd = os.pidfd_open(self._supervisor.pid)
        except OSError:
            # No descriptor is left: the node is to end all the same, and subprocess looks for that now and then.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(timeout_s)
            return self._supervisor.poll() is not None
        ended = _wait_all([pidfd], timeout_s)
        if ended:
            self._supervisor.wait()
        return ended

    @property
    def exit_code(self) -> int | None:
        """Of the supervisor: 0 after a stop, 1 when the node failed."""
        return self._supervisor.poll()

    def _end(self, number: int) -> None:
        if os.getpid() != self._owner_pid or self._supervisor.poll() is not None:
            return
        self._supervisor.send_signal(number)
        if not self.wait(2 * self.options.stop_grace_s + _CLEAN_UP_S):
            self.kill()

    def _child_pid(self, service: str) -> int:
        """The service's present pid: it may have been started again since the node was ready."""
        return int(self.services[service]["pid"])

    def _pidfd_of(self, service: str, pid: int) -> int:
        """-1 when the process is gone, or its pid is another's by now."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return -1
        try:
            with open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            parent = 0
        if parent == self._supervisor.pid:
            return pidfd
        os.close(pidfd)
        return -1


def start_local(options: NodeOptions, meanwhile: Callable[[], object] = lambda: None) -> LocalNode:
    """Start a node on this machine and wait until it serves.

    meanwhile: done while the services start. raises: ValueError for resources that cannot be; NodeStartError after
    node_start_timeout_s, or when a service ends before. cost: some 0.5 s on 2 cores, nearly all of it the services'
    imports.
    """
    spec = _spec(options)
    standard_descriptors.fill()
    with contextlib.ExitStack() as opened:
        try:
            ready_reader, ready_writer = _pipe(opened)
            spec_reader, spec_writer = _pipe(opened)
            passed = [spec_reader, ready_writer]
            if options.ends_with_this_process:
                passed.append(os.pidfd_open(os.getpid()))
                spec["driver_fd"] = passed[-1]
        except OSError as error:
            raise _not_started(error) from error
        opened.pop_all()
    spec["ready_fd"] = ready_writer
    # The interpreter's own options (-X, -W) and user site are of no concern to the supervisor.
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, package, "--spec-fd", str(spec_reader)]
    try:
        supervisor = subprocess.Popen(
            command,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            # A daemon must not hold the terminal or pipe of whoever started it; what it has to say goes to its log.
            stdout=subprocess.DEVNULL,
            stderr=None if options.ends_with_this_process else subprocess.DEVNULL,
            # Ctrl-C is for the driver, which then ends the node in order.
            start_new_session=True,
            env={**os.environ, **options.env_vars},
        )
    except OSError as error:
        os.close(ready_reader)
        os.close(spec_writer)
        raise _not_started(error) from error
    finally:
        for descriptor in passed:
            os.close(descriptor)
    with open(ready_reader, "rb") as reader:
        try:
            with open(spec_writer, "w") as writer:
                json.dump(spec, writer)
            meanwhile()
            ready = _wait_ready(reader.fileno(), options.node_start_timeout_s)
        except BaseException:
            _end_failed(supervisor, options)
            raise
    if not ready.get("ok"):
        _end_failed(supervisor, options)
        raise NodeStartError(_explain(ready))
    return LocalNode(supervisor, ready, options)


def _pipe(opened: contextlib.ExitStack) -> tuple[int, int]:
    """Closed with the stack. raises: OSError."""
    reader, writer = os.pipe()
    opened.callback(os.close, reader)
    opened.callback(os.close, writer)
    return reader, writer


def _not_started(error: OSError) -> NodeStartError:
    from manta_common.process import explain_lack

    return NodeStartError(f"the node could not be started: supervisor: {explain_lack(error)}")


def _end_failed(supervisor: "subprocess.Popen[bytes]", options: NodeOptions) -> None:
    """End a supervisor whose node did not come up, in order if it still can; its services end with it."""
    supervisor.terminate()
    try:
        supervisor.wait(2 * options.stop_grace_s + _CLEAN_UP_S)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def _spec(options: NodeOptions) -> dict[str, Any]:
    root = default_temp_root(os.environ)
    wanted = Wanted(
        num_cpus=options.num_cpus,
        num_gpus=options.num_gpus,
        memory=options.memory,
        object_store_memory=options.object_store_memory,
        resources=options.resources,
    )
    totals = node_resources(wanted, machine=Machine(), env=os.environ, node_ip=options.node_ip, is_head=options.is_head)
    return {
        "temp_dir": os.path.abspath(os.path.expanduser(options.temp_dir)) if options.temp_dir else root,
        "socket_dir": socket_parent(options.socket_dir or os.environ.get("MANTA_SOCKET_DIR", "")),
        "registry_dir": root,
        "bin_dirs": _bin_dirs(),
        "head": options.is_head,
        "gcs_addresses": list(options.gcs_addresses),
        "store": options.store,
        "token": (options.token or _token_of_environment()).decode(),
        "node_ip": options.node_ip,
        "gcs_port": options.gcs_port,
        "metrics_port": options.metrics_port,
        "resources": totals,
        "labels": {**options.labels, **override_of(os.environ, OVERRIDE_LABELS)},
        "node_name": options.node_name,
        "arena_bytes": int(totals["object_store_memory"]),
        "system_config": dict(options.system_config),
        "owner_pid": os.getpid(),
        "keep_only_logs": options.ends_with_this_process,
        "log_level": options.log_level,
        "tls_ca": options.tls_ca and os.path.abspath(options.tls_ca),
        "tls_cert": options.tls_cert and os.path.abspath(options.tls_cert),
        "tls_key": options.tls_key and os.path.abspath(options.tls_key),
        "insecure_plaintext": options.insecure_plaintext,
        "start_timeout_s": options.node_start_timeout_s,
        "grace_s": options.stop_grace_s,
    }


def _token_of_environment() -> bytes:
    """The token that the user has set, else nothing. raises: CredentialError when what he has set cannot be used."""
    from manta_common.credentials import find_token

    names = ("MANTA_TOKEN", "MANTA_TOKEN_FILE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    return find_token(os.environ).value if any(os.environ.get(name, "").strip() for name in names) else b""


def _bin_dirs() -> list[str]:
    folders = [os.path.dirname(os.path.abspath(sys.executable)), sysconfig.get_path("scripts")]
    return list(dict.fromkeys(folders))


def _wait_ready(descriptor: int, timeout_s: float) -> dict[str, Any]:
    """The supervisor's one line. It watches the services' own deadline, so ours is a little later."""
    deadline = time.monotonic() + timeout_s + _CLEAN_UP_S
    received = b""
    while b"\n" not in received and len(received) < _READY_LIMIT:
        if not _readable([descriptor], deadline):
            raise NodeStartError(
                f"the node's supervisor said nothing within {timeout_s + _CLEAN_UP_S:g} s (node_start_timeout_s)"
            )
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return {"ok": False, "service": "supervisor", "reason": "it ended without a word; see stderr above"}
        received += chunk
    message: dict[str, Any] = json.loads(received)
    return message


def _explain(failure: Mapping[str, Any]) -> str:
    text = f"the node could not be started: {failure.get('service')}: {failure.get('reason')}"
    if failure.get("tail"):
        text += f"\nlast lines of {failure['log']}:\n{failure['tail']}"
    elif failure.get("log"):
        text += f"\nits log {failure['log']} is empty"
    return text


def _wait_all(pidfds: list[int], timeout_s: float | None) -> bool:
    """Wait until the processes have ended, then close the descriptors. returns: whether all have."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    waiting = set(pidfds)
    try:
        while waiting:
            ended = _readable(waiting, deadline)
            if not ended:
                return False
            waiting.difference_update(ended)
        return True
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


def _readable(descriptors: Iterable[int], deadline: float | None) -> list[int]:
    """Those that can be read, or none after the deadline. Not select(): a driver may hold over 1,024 files."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    pause_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000 + 1
    return [descriptor for descriptor, _ in poll.poll(pause_ms)]
