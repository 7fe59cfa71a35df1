"""manta-supervisor: runs the services of one node of this machine, as a JSON spec says."""

import json
import os
import sys
from collections.abc import Sequence

from . import standard_descriptors
from .ports import PortTaken
from .session import SessionError
from .spec import Spec, SpecError
from .supervisor import Supervisor, failure, report

USAGE = """usage: manta-supervisor (--spec FILE | --spec-fd N)

Starts GCS (on a head), object manager and raylet of one node, restarts the first two when they die, and ends all of
them on SIGTERM or with the process of the spec's driver_fd. ray.init() and `ray start` run it; its spec is a JSON
object with these fields:

  """


def main(argv: Sequence[str] | None = None) -> int:
    standard_descriptors.fill()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--help"], ["-h"]):
        print(USAGE + "\n  ".join(Spec.__annotations__))
        return 0
    if len(arguments) != 2 or arguments[0] not in ("--spec", "--spec-fd"):
        print(USAGE.splitlines()[0], file=sys.stderr)
        return 2
    try:
        source: str | int = int(arguments[1]) if arguments[0] == "--spec-fd" else arguments[1]
        with open(source) as file:
            spec = Spec.from_json(json.load(file))
    except (OSError, ValueError, SpecError) as error:
        print(f"manta-supervisor: {arguments[0]} {arguments[1]}: {error}", file=sys.stderr)
        return 2
    for descriptor in (spec.driver_fd, spec.ready_fd):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    try:
        supervisor = Supervisor(spec)
    except (SessionError, PortTaken, OSError) as error:
        print(f"manta-supervisor: {error}", file=sys.stderr)
        if spec.ready_fd >= 0:
            report(spec.ready_fd, failure(str(error)))
        return 1
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
