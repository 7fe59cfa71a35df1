"""Programs in the place of manta-gcs and its kin, for tests of the supervisor: they serve nothing, but behave."""

import os
import sys
from pathlib import Path

PROGRAM = """#!{python} -ISu
import json, os, signal, socket, sys, time
arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
name = os.path.basename(sys.argv[0]).removeprefix("manta-")
behaviour = {behaviour!r}.get(name, "")
print("started", name, flush=True)
if behaviour == "crash":
    sys.exit("the reason is on this line")
if "--die-with-parent" in sys.argv:
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
host, port = arguments["--listen"].rsplit(":", 1)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, int(port)))
listener.listen()
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if behaviour == "orphan" and os.fork() == 0:
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(int(arguments["--ready-fd"]))
    open(os.path.join(arguments["--session-dir"], "logs", "orphan"), "w").write(str(os.getpid()))
    signal.pause()
ready = {{
    "gcs": {{"address": arguments["--listen"]}},
    "object-manager": {{"socket": arguments.get("--socket"), "grpc": arguments["--listen"]}},
    "raylet": {{"node_id": "ab" * 28, "address": arguments["--listen"],
               "socket": arguments.get("--node-dir", "") + "/raylet.sock"}},
}}[name]
if behaviour != "silent":
    os.write(int(arguments["--ready-fd"]), json.dumps(ready).encode() + b"\\n")
    os.close(int(arguments["--ready-fd"]))
while True:
    signal.pause()
"""


def write_services(folder: Path, **behaviour: str) -> str:
    """Console scripts; behaviour: service (with _ for -) -> crash, silent, stubborn or orphan. returns: the folder."""
    folder.mkdir(exist_ok=True)
    text = PROGRAM.format(
        python=os.path.realpath(sys.executable),
        behaviour={name.replace("_", "-"): value for name, value in behaviour.items()},
    )
    for name in ("manta-gcs", "manta-object-manager", "manta-raylet"):
        program = folder / name
        program.write_text(text)
        program.chmod(0o700)
    return str(folder)
