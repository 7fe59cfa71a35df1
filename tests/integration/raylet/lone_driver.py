"""A driver in a process of its own, to be killed: it connects, has its lease granted, prints both pids, and waits.

Arguments: the raylet's socket, the worker id in hex, the job id in hex. The token is in MANTA_TOKEN.
"""

import os
import signal
import socket
import sys

from manta_common.channel.framing import FrameDecoder, encode_frame
from manta_common.channel.hello import hello_bytes
from manta_common.credentials import Token
from manta_common.version import PROTOCOL
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2


def main() -> None:
    path, worker_id, job_id = sys.argv[1], bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
    raylet = socket.socket(socket.AF_UNIX)
    raylet.connect(path)
    hello = common_pb2.Hello(role=common_pb2.DRIVER, worker_id=worker_id, job_id=job_id, pid=os.getpid())
    token = Token(os.environ["MANTA_TOKEN"].encode())
    raylet.sendall(hello_bytes(token, PROTOCOL, hello.SerializeToString()))
    wanted = raylet_pb2.LeasesWanted(request_id=1, job_id=job_id, backlog=1)
    wanted.resources.amounts["CPU"] = 10_000
    raylet.sendall(encode_frame(raylet_pb2.LEASES_WANTED, wanted.SerializeToString()))
    decoder = FrameDecoder()
    while data := raylet.recv(65536):
        for kind, payload in decoder.feed(data):
            if kind == raylet_pb2.LEASE_GRANTED:
                granted = raylet_pb2.LeaseGranted.FromString(payload)
                print(granted.pid, granted.worker.worker_id.hex(), flush=True)
                signal.pause()


main()
