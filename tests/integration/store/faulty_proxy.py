"""A gRPC proxy before a real etcd that holds requests, loses replies and ends streams when told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

STREAMS = {"Watch", "LeaseKeepAlive"}


class FaultyProxy:
    """Forwards every method byte for byte; `url` is what a store opens."""

    def __init__(self, upstream: str) -> None:
        self._channel = grpc.aio.insecure_channel(upstream, [("grpc.use_local_subchannel_pool", 1)])
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self.calls: Counter[str] = Counter()  # by method name, counted when they arrive
        self.reply_lost: asyncio.Queue[str] = asyncio.Queue()
        self._lose: set[str] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._end = asyncio.Event()
        self._end_code: grpc.StatusCode | None = None

    @property
    def url(self) -> str:
        return f"etcd://127.0.0.1:{self._port}"

    def hold(self) -> None:
        """Let nothing pass, as a network that swallows packets."""
        self._passing.clear()

    def release(self) -> None:
        self._passing.set()

    def lose_replies(self, *methods: str) -> None:
        """Forward calls of these methods, and never answer them; none: answer again."""
        self._lose = set(methods)

    def end_streams(self, code: grpc.StatusCode | None) -> None:
        """End the open streams with a status, or plainly."""
        self._end_code = code
        self._end.set()
        self._end = asyncio.Event()

    async def unary(self, path: str, request: bytes, context: Any) -> bytes:
        name = path.rpartition("/")[2]
        self.calls[name] += 1
        await self._passing.wait()
        call = self._channel.unary_unary(path, None, None)
        try:
            reply: bytes = await call(request, metadata=_forwarded(context), timeout=10)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        if name in self._lose:
            self.reply_lost.put_nowait(name)
            await asyncio.Event().wait()  # until the client gives up
        await self._passing.wait()
        return reply

    async def stream(self, path: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.calls[path.rpartition("/")[2]] += 1
        await self._passing.wait()
        ended = asyncio.ensure_future(self._end.wait())
        call = self._channel.stream_stream(path, None, None)(None, metadata=_forwarded(context))

        async def pump() -> None:
            async for request in requests:
                await call.write(request)

        pumping = asyncio.create_task(pump())
        try:
            while True:
                reading = asyncio.ensure_future(call.read())
                await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                    if self._end_code is not None:
                        await context.abort(self._end_code, "ended by the test")
                    return
                reply = reading.result()
                if not isinstance(reply, bytes):
                    return
                await self._passing.wait()
                yield reply
        finally:
            call.cancel()
            ended.cancel()
            pumping.cancel()
            await asyncio.gather(pumping, ended, return_exceptions=True)

    async def __aenter__(self) -> FaultyProxy:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        await self._server.stop(0)
        await self._channel.close(None)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, proxy: FaultyProxy) -> None:
        self._proxy = proxy

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = details.method

        async def unary(request: bytes, context: Any) -> bytes:
            return await self._proxy.unary(path, request, context)

        async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for reply in self._proxy.stream(path, requests, context):
                yield reply

        if path.rpartition("/")[2] in STREAMS:
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


def _forwarded(context: Any) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in context.invocation_metadata() if key in ("token", "hasleader"))
