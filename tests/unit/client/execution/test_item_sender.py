"""The items of a generator on an event loop: what a cancel does while one of them is being stored."""

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.execution import item_sender
from ray._runtime.execution.execution import Failure
from ray._runtime.execution.generator_run import run_async_generator


class StandIn:
    """The process, the channel and the execution of one call."""

    def __init__(self, backpressure: int) -> None:
        self.lock = threading.RLock()
        self.drops = SimpleNamespace(refs=deque())
        self.reactor = SimpleNamespace(call_later=lambda *_: None, call_soon=lambda *_: None)
        self.helpers = ThreadPoolExecutor(1)
        self.item_senders = item_sender.ItemSenders()
        self.address = self.owner = (b"node", b"worker")
        self.node_id = b"node"
        self.process = self
        self.is_fork = False
        self.caller = b"caller"
        self.name = "arrays"
        self.cancelled = False
        self.flow: Any = None
        self.frames: list[bytes] = []
        self.task = worker_pb2.Task(task_id=b"t" * 24, num_returns=-1, backpressure=backpressure)
        self.peer = self

    def queue(self, kind: int, data: bytes) -> None:
        self.frames.append(data)

    def flush(self) -> None:
        pass

    def cancellation(self, error: BaseException) -> Failure:
        self.cancelled = True
        return Failure(error)


def test_a_cancel_while_an_item_is_stored_ends_a_generator_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn(backpressure=1)
    storing, gate = threading.Event(), threading.Event()

    def store_all(_execution: Any, large: Any) -> None:
        storing.set()
        gate.wait(10)
        for message, serialized in large:
            message.stored.size = serialized.stored_size()

    monkeypatch.setattr(item_sender, "store_all", store_all)

    async def arrays() -> Any:
        while True:
            yield b"x" * (1 << 20)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        call = asyncio.Task(run_async_generator(stand_in, stand_in, stand_in, arrays()))  # type: ignore[arg-type]
        await loop.run_in_executor(None, storing.wait, 10)
        # As the lane does.
        stand_in.cancelled = True
        call.cancel()
        await asyncio.sleep(0)
        gate.set()
        # Nobody tells it that the item was read.
        ended, _ = await asyncio.wait([call], timeout=5)
        assert ended, "the cancelled generator waits for its reader"
        with pytest.raises(Failure):
            call.result()

    asyncio.run(run())
    stand_in.helpers.shutdown()
    assert len(stand_in.frames) == 1, "the caller hears of what was stored"
