"""What the machine gives without any runtime: `python benchmarks/limits.py` prints one JSON object, name -> figure.

Every figure of the comparison stands beside these, from the same run.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

import grpc
import numpy as np
import pyarrow as pa
from pyarrow import flight
from rows import BARE_FLIGHT, TWO_THREAD_COPY

LARGE: Final = 256 << 20


def best_seconds(call: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def unix_round_trip() -> float:
    """A small message to another process's reader thread and back to ours, us."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        answering = threading.Thread(target=_answer, args=(theirs,))
        answering.start()
        answering.join()
        os._exit(0)
    theirs.close()
    arrived = threading.Semaphore(0)
    reading = threading.Thread(target=_signal, args=(ours, arrived))
    reading.start()

    def trips() -> None:
        for _ in range(1000):
            ours.send(b"x" * 64)
            arrived.acquire()

    figure = best_seconds(trips, 5) / 1000 * 1e6
    ours.shutdown(socket.SHUT_RDWR)
    reading.join()
    os.waitpid(child, 0)
    return figure


def _answer(sock: socket.socket) -> None:
    while data := sock.recv(4096):
        sock.send(data)


def _signal(sock: socket.socket, arrived: threading.Semaphore) -> None:
    while sock.recv(4096):
        arrived.release()


_GRPC_SERVER: Final = """
import grpc, sys
from concurrent import futures
handler = grpc.method_handlers_generic_handler(
    "limits", {"echo": grpc.unary_unary_rpc_method_handler(lambda request, context: request)})
server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
"""


def unary_grpc() -> float:
    """One unary call in Python, us."""
    server = subprocess.Popen([sys.executable, "-c", _GRPC_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None and server.stdout is not None
    with grpc.insecure_channel(f"127.0.0.1:{int(server.stdout.readline())}") as channel:
        echo = channel.unary_unary("/limits/echo")

        def calls() -> None:
            for _ in range(200):
                echo(b"x" * 64)

        figure = best_seconds(calls, 5) / 200 * 1e6
    server.stdin.close()
    server.wait()
    return figure


def pickled_message() -> float:
    """A small tuple pickled and unpickled, us."""

    def trips() -> None:
        for _ in range(10_000):
            pickle.loads(pickle.dumps((b"x" * 24, ((), {}), 1), protocol=5))

    return best_seconds(trips, 5) / 10_000 * 1e6


def warm_copy(threads: int) -> float:
    """Copy between two warm buffers of 256 MiB, GB/s."""
    source = np.ones(LARGE, dtype=np.uint8)
    target = np.zeros(LARGE, dtype=np.uint8)
    part = LARGE // threads
    spans = [slice(number * part, (number + 1) * part) for number in range(threads)]

    def copy(span: slice) -> None:
        np.copyto(target[span], source[span])

    with ThreadPoolExecutor(threads) as pool:
        return LARGE / 1e9 / best_seconds(lambda: wait([pool.submit(copy, span) for span in spans]), 7)


def fork() -> float:
    """A fork that exits at once and is reaped, ms."""

    def one() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    return best_seconds(one, 30) * 1e3


def loopback() -> float:
    """Bare TCP on the loopback into a warm buffer, GiB/s."""
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        data = b"\x01" * (4 << 20)
        connection = socket.create_connection(listener.getsockname())
        for _ in range(5 * LARGE // len(data)):
            connection.sendall(data)
        os._exit(0)
    connection, _ = listener.accept()
    target = memoryview(bytearray(LARGE))

    def receive() -> None:
        filled = 0
        while filled < LARGE:
            filled += connection.recv_into(target[filled:])

    figure = 0.25 / best_seconds(receive, 5)
    connection.close()
    listener.close()
    os.waitpid(child, 0)
    return figure


_FLIGHT_SERVER: Final = """
import sys
import pyarrow as pa
from pyarrow import flight
SIZE = int(sys.argv[1])
schema = pa.schema([("bytes", pa.binary())])
data = pa.py_buffer(bytearray(SIZE))
def batches():
    part = 4 << 20
    for start in range(0, SIZE, part):
        offsets = pa.array([0, part], type=pa.int32()).buffers()[1]
        column = pa.Array.from_buffers(pa.binary(), 1, [None, offsets, data.slice(start, part)])
        yield pa.record_batch([column], schema=schema)
table = pa.Table.from_batches(list(batches()))
class Server(flight.FlightServerBase):
    def do_get(self, context, ticket):
        return flight.RecordBatchStream(table)
server = Server("grpc://127.0.0.1:0")
print(server.port, flush=True)
server.serve()
"""


def bare_flight() -> float:
    """256 MiB by one Flight DoGet from another process, copied into a warm buffer while it arrives, GiB/s."""
    server = subprocess.Popen([sys.executable, "-c", _FLIGHT_SERVER, str(LARGE)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    target = np.zeros(LARGE, dtype=np.uint8)
    try:
        with flight.connect(f"grpc://127.0.0.1:{int(server.stdout.readline())}") as client:

            def receive() -> None:
                filled = 0
                for chunk in client.do_get(flight.Ticket(b"all")):
                    part = np.frombuffer(chunk.data.column(0).buffers()[2], dtype=np.uint8)
                    target[filled : filled + len(part)] = part
                    filled += len(part)
                if filled != LARGE:
                    raise RuntimeError(f"{filled} of {LARGE} bytes arrived")

            return 0.25 / best_seconds(receive, 6)
    finally:
        server.kill()
        server.wait()


def main() -> dict[str, float]:
    # What forks comes first: gRPC's threads do not survive it.
    return {
        "Unix-socket round trip, a reader thread at each end (us)": unix_round_trip(),
        "fork, exit and reap (ms)": fork(),
        "bare TCP on loopback (GiB/s)": loopback(),
        "small message pickled and unpickled (us)": pickled_message(),
        "warm copy, one thread (GB/s)": warm_copy(1),
        TWO_THREAD_COPY: warm_copy(2),
        "unary gRPC call (us)": unary_grpc(),
        BARE_FLIGHT: bare_flight(),
    }


if __name__ == "__main__":
    print(f"numpy {np.__version__}, pyarrow {pa.__version__}", file=sys.stderr)
    print(json.dumps(main()))
