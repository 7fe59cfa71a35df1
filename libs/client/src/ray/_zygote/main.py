"""manta-zygote: imports what workers need, and forks them on its raylet's request.

In two steps: the first workers of a new cluster are forked as soon as they could run, with half of the imports done;
the other half, numpy's, which the services' own imports would have to share the processors with, follows when nobody
asks for a worker, or before the third is forked.
"""

import gc
import importlib
import os
import platform
import select
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError
from manta_common.channel.framing import ProtocolError
from manta_common.version import PROTOCOL, VersionMismatch
from manta_proto.zygote.v1 import zygote_pb2

from ray._zygote.children import Children
from ray._zygote.control import LOST, Control, close_all
from ray._zygote.fork_hooks import ForkHooks
from ray._zygote.forking import Forking, ForkRefused
from ray._zygote.holes import fill_holes_between_blocks, fill_holes_between_objects
from ray._zygote.worker_process import DEFAULT_WORKER, open_standard_streams, show_crashes

# Set before numpy is imported: a BLAS that starts with one thread starts none. Children get their own values, see
# worker_process.
_ONE_THREAD: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
# Not pyarrow, though many import it: all forks would pay for its pages, see docs/adr/0022.
_PRELOADED: Final = ("numpy", "numpy.random", "ray._runtime.arena.parallel_copy")
# How many workers are forked without the above: those that a new cluster starts ahead.
_EARLY_FORKS: Final = 2
# Nobody has asked for so long, before the first fork and after it: time for the second step.
_IDLE_AT_FIRST_MS: Final = 1_000
_IDLE_MS: Final = 200
# What workers import when they first need it: an import costs a worker up to 15 ms, and the zygote once. grpc is
# imported and never used here: its threads would not survive a fork.
_OF_THE_API: Final = (
    "cloudpickle",
    "manta_common.rpc",
    "ray._api",
    "ray._error_transport",
    "ray._remote",
    "ray._runtime.transport.grpc_channel",
    "ray._runtime.execution.loop_lane",
    "ray._runtime.values.pickler",
    "ray._runtime.transport.remote",
    "ray._runtime.execution.threaded_lane",
    "ray.actor",
    "ray.exceptions",
    "ray.remote_function",
    "ray.runtime_context",
    "ray.util.scheduling_strategies",
)
_USAGE: Final = """usage: manta-zygote --fd N [--folder PATH] [--worker MODULE]

Started by manta-raylet. N is its end of a socket pair; what files it needs for a while it makes in PATH (default: where
the machine keeps such files); MODULE.run(fork) is what a worker does (default: ray._runtime.process.worker_main)."""


def main() -> None:
    descriptor, folder, worker = _arguments(sys.argv[1:])
    inherited = dict(os.environ)
    os.environ.update(_ONE_THREAD)
    open_standard_streams()
    show_crashes()
    control_socket = socket.socket(fileno=descriptor)
    control_socket.set_inheritable(False)
    for name in (worker, *_OF_THE_API):
        importlib.import_module(name)
    hooks = ForkHooks()
    gc.freeze()
    serve(control_socket, Forking(inherited, worker, hooks), worker, folder)


def preload(worker: str, folder: str = "") -> Any:
    """The second step: import the large libraries, and make ahead what workers can have from here.

    returns: a ThreadpoolController over the libraries.
    """
    for name in _PRELOADED:
        importlib.import_module(name)
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    controller = ThreadpoolController()
    make_ahead = getattr(sys.modules[worker], "make_ahead", None)
    if make_ahead is not None:
        make_ahead(folder)
    # Folders that were not there when we looked may be there for a worker; of the others the mtimes tell.
    for folder, finder in list(sys.path_importer_cache.items()):
        if finder is None:
            del sys.path_importer_cache[folder]
    # What is alive now stays: children share its pages, and no collection writes to them.
    gc.collect()
    fill_holes_between_objects()
    gc.freeze()
    fill_holes_between_blocks()
    return controller


def serve(control_socket: socket.socket, forking: Forking, worker: str, folder: str = "") -> None:
    """Answer the raylet until it hangs up."""
    control = Control(control_socket)
    children = Children()

    def fork(request: zygote_pb2.Fork) -> None:
        outputs = control.take_descriptors()
        if not forking.loaded and forking.forks >= _EARLY_FORKS:
            forking.load(lambda: preload(worker, folder))
        try:
            if LOST in outputs:
                raise ForkRefused("the zygote got no descriptors: too many are open here or on the machine", True)
            pid = forking.start(request, *outputs)
        except (ForkRefused, VersionMismatch) as error:
            refusal = zygote_pb2.ForkFailed(request_id=request.request_id, message=str(error))
            refusal.lacks_room = isinstance(error, ForkRefused) and error.lacks_room
            control.send(zygote_pb2.FORK_FAILED, refusal.SerializeToString())
        else:
            answer = zygote_pb2.Forked(request_id=request.request_id, pid=pid)
            control.send(zygote_pb2.FORKED, answer.SerializeToString())
        finally:
            close_all(outputs)

    ready = zygote_pb2.Ready(
        pid=os.getpid(),
        python=platform.python_version(),
        version_major=PROTOCOL.major,
        version_minor=PROTOCOL.minor,
    )
    control.send(zygote_pb2.READY, ready.SerializeToString())
    poll = select.poll()
    poll.register(children.fileno(), select.POLLIN)
    poll.register(control.fileno(), select.POLLIN)
    writing = False
    try:
        # Between two forks little is to be done: what is written to after one of them is copied again.
        while not control.ended:
            if writing != bool(control.outbox):
                writing = not writing
                poll.modify(control.fileno(), select.POLLIN | (select.POLLOUT if writing else 0))
            found = poll.poll(None if forking.loaded else _IDLE_MS if forking.forks else _IDLE_AT_FIRST_MS)
            if not found:
                forking.load(lambda: preload(worker, folder))
            for descriptor, _ in found:
                if descriptor == children.fileno():
                    for pid, status in children.reap():
                        exited = zygote_pb2.Exited(pid=pid, status=status)
                        control.send(zygote_pb2.EXITED, exited.SerializeToString())
                    continue
                if writing:
                    control.flush()
                for kind, payload in control.receive():
                    if kind != zygote_pb2.FORK:
                        raise ProtocolError(f"frame kind {kind} is none that a zygote takes")
                    fork(_parse(payload))
    except ProtocolError as error:
        sys.exit(f"manta-zygote: the raylet's connection is malformed: {error}")


def _parse(payload: bytes) -> zygote_pb2.Fork:
    """raises: ProtocolError."""
    try:
        return zygote_pb2.Fork.FromString(payload)
    except DecodeError as error:
        raise ProtocolError(f"a FORK cannot be parsed: {error}") from error


def _arguments(argv: Sequence[str]) -> tuple[int, str, str]:
    """Descriptor, folder and worker module. argparse would cost every start 10 ms."""
    if list(argv) in (["--help"], ["-h"]):
        print(_USAGE)
        sys.exit(0)
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    descriptor, folder = given.pop("--fd", ""), given.pop("--folder", "")
    worker = given.pop("--worker", DEFAULT_WORKER)
    if len(argv) % 2 or given or not descriptor.isdigit():
        sys.exit(_USAGE)
    return int(descriptor), folder, worker


if __name__ == "__main__":
    main()
