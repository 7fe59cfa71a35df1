"""A worker in a new interpreter: python -m ray._zygote.spawned --fd N --worker MODULE.

N is a memory file that holds a serialized zygote.v1.Fork.
"""

import sys
from typing import NoReturn

from manta_common.version import Version, VersionMismatch, check
from manta_proto.zygote.v1 import zygote_pb2

from ray._zygote import worker_process


def main() -> NoReturn:
    if len(sys.argv) != 5 or sys.argv[1::2] != ["--fd", "--worker"] or not sys.argv[2].isdigit():
        sys.exit("usage: python -m ray._zygote.spawned --fd N --worker MODULE; it is started by manta-zygote")
    request, worker = read_request(int(sys.argv[2])), sys.argv[4]
    worker_process.open_standard_streams()
    worker_process.show_crashes()
    try:
        # Another interpreter may have another version of this package.
        check(Version(request.version_major, request.version_minor), peer="the zygote's raylet")
    except VersionMismatch as error:
        sys.exit(f"manta: this worker cannot start: {error}")
    # The variables are in place since the exec; the thread limits were read from them.
    worker_process.enter_folder(request.working_directory)
    sys.path[:] = worker_process.import_path(request)
    sys.argv = [""]
    worker_process.forget_exit_functions()
    worker_process.run(request, worker)


def read_request(descriptor: int) -> zygote_pb2.Fork:
    """The message in a memory file, which is closed."""
    with open(descriptor, "rb") as file:
        return zygote_pb2.Fork.FromString(file.read())


if __name__ == "__main__":
    main()
