"""A generator that runs again for lost items: what becomes of those that do not come."""

from __future__ import annotations

from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.generators.generator_replay import GeneratorReplay, index_of
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.values import serialization
from ray._runtime.values.wire import item_id
from ray.exceptions import StreamingGeneratorReplayInconsistentError

TASK = b"t" * 24


def replay_of(*lost: int) -> GeneratorReplay:
    return GeneratorReplay(TaskRecord(TASK, "f", 1, None, None, Timing(), 3), [item_id(TASK, index) for index in lost])


def test_it_begins_at_the_first_lost_item() -> None:
    assert index_of(item_id(TASK, 5)) == 5
    assert replay_of(7, 5).stream.attempted() == 5


def test_an_item_beyond_the_end_of_the_second_run_says_that_the_runs_differ() -> None:
    lost = [item_id(TASK, 1), item_id(TASK, 4)]
    errors = replay_of(1, 4).errors(worker_pb2.TaskReply(items_made=3), lost)
    assert list(errors) == [lost[1]], "the other was made, and lost again: it is worth another run"
    error = serialization.load_proto(errors[lost[1]])
    assert isinstance(error, StreamingGeneratorReplayInconsistentError) and "item 4 of f" in str(error)


def test_what_the_second_run_raises_is_what_its_lost_items_raise() -> None:
    value = common_pb2.Value(kind=common_pb2.Value.ERROR, data=b"e")
    reply = worker_pb2.TaskReply(returns=[worker_pb2.Return(value=value)])
    assert replay_of(1).errors(reply, [item_id(TASK, 1)]) == {item_id(TASK, 1): value}


def test_a_run_that_was_stopped_blames_no_item_lost_since() -> None:
    replay = replay_of(1)
    replay.stopped = True
    assert replay.errors(worker_pb2.TaskReply(items_made=2), [item_id(TASK, 9)]) == {}
