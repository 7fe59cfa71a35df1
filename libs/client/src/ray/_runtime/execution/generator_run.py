"""A generator that a worker runs: from yield to yield, each item sent, until it ends or nobody reads on."""

from __future__ import annotations

import inspect
import time
from asyncio import CancelledError
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray._runtime.api import STREAMING
from ray._runtime.execution.execution import END, advance
from ray._runtime.execution.forked_child import end_forked_child
from ray._runtime.execution.item_sender import ItemSender

if TYPE_CHECKING:
    from ray._runtime.execution.execution import Execution
    from ray._runtime.execution.incoming import Incoming
    from ray._runtime.process.process import Process


@dataclass(slots=True)
class StreamingGeneratorStats:
    """What `yield` is worth in a streaming generator. object_creation_dur_s: to pickle, store and hand on the item."""

    object_creation_dur_s: float


def run_generator(process: Process, incoming: Incoming, execution: Execution, result: Any) -> None:
    """Send all items of what the user's function returned, a generator, on this thread.

    raises: Failure with what it raised, when it was cancelled, or for an item that cannot be sent.
    """
    iterator = _iterator(execution, result)
    sender = _begin(process, incoming, execution)
    # What a yield gives back to the user's code; other iterators, and dynamic calls, take nothing.
    tells = incoming.task.num_returns == STREAMING and inspect.isgenerator(result)
    stats: StreamingGeneratorStats | None = None
    try:
        while not sender.flow.dropped and (value := advance(execution, iterator, stats)) is not END:
            started = time.perf_counter()
            sender.put(value)
            if tells:
                stats = StreamingGeneratorStats(time.perf_counter() - started)
            del value
            sender.await_room()
            if execution.cancelled:
                raise execution.cancellation(CancelledError())
        _close(execution, iterator)
    except KeyboardInterrupt as error:  # a cancel that came while it waited for its reader
        raise execution.cancellation(error) from None
    finally:
        # Also ahead of an error, which is the item behind these.
        sender.await_sent()
        process.item_senders.end(sender)


async def run_async_generator(process: Process, incoming: Incoming, execution: Execution, result: Any) -> None:
    """As run_generator, on an event loop; an async generator may wait between its items."""
    is_async = inspect.isasyncgen(result)
    iterator = result if is_async else _iterator(execution, result)
    sender = _begin(process, incoming, execution)
    tells = incoming.task.num_returns == STREAMING and (is_async or inspect.isgenerator(result))
    stats: StreamingGeneratorStats | None = None
    try:
        while not sender.flow.dropped:
            if is_async:
                value = await _advance_async(execution, iterator, stats)
            else:
                value = advance(execution, iterator, stats)
            if value is END:
                break
            started = time.perf_counter()
            await sender.put_async(value)
            if tells:
                stats = StreamingGeneratorStats(time.perf_counter() - started)
            del value
            # A cancel that came while the item was stored is noted there only: no other would end the wait for room.
            if not execution.cancelled:
                await sender.room()
            if execution.cancelled:
                raise CancelledError
        if is_async:
            await _close_async(execution, iterator)
        else:
            _close(execution, iterator)
    except CancelledError as error:
        raise execution.cancellation(error) from None
    finally:
        await sender.sent()
        process.item_senders.end(sender)


def _begin(process: Process, incoming: Incoming, execution: Execution) -> ItemSender:
    sender = ItemSender(process, execution, incoming.peer)
    execution.flow = sender.flow
    process.item_senders.begin(sender)
    return sender


def _iterator(execution: Execution, result: Any) -> Iterator[Any]:
    try:
        return iter(result)
    except TypeError:
        kind = type(result).__name__
        advice = "; make it a method of an async actor" if inspect.isasyncgen(result) else ""
        text = f"{execution.name} was called as a generator and returned {kind}, which cannot be iterated here{advice}"
        error = TypeError(text)
        raise execution.failure(error) from None
    except BaseException as problem:
        raise execution.ended_by(problem) from None


async def _advance_async(execution: Execution, iterator: Any, sent: Any) -> Any:
    try:
        value = await (anext(iterator, END) if sent is None else iterator.asend(sent))
    except StopAsyncIteration:
        value = END
    except BaseException as error:
        raise execution.ended_by(error) from None
    if execution.process.is_fork:
        end_forked_child()
    return value


def _close(execution: Execution, iterator: Any) -> None:
    """Have the user's code clean up behind its last yield; nothing for one that ended. raises: Failure."""
    try:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    except BaseException as error:
        raise execution.ended_by(error) from None


async def _close_async(execution: Execution, iterator: Any) -> None:
    try:
        await iterator.aclose()
    except BaseException as error:
        raise execution.ended_by(error) from None
