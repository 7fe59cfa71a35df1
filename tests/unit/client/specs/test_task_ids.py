"""Ids of tasks and puts: unique over threads and over the ends of their counters."""

from __future__ import annotations

import itertools
import threading

from manta_common.ids import NO_ACTOR
from ray._runtime.specs import task_ids
from ray._runtime.specs.task_ids import TaskIds

JOB = b"job1"


def test_a_task_id_names_its_job_and_an_actor_task_its_actor() -> None:
    ids = TaskIds(JOB)
    assert ids.next_task()[8:] == NO_ACTOR + JOB
    assert ids.next_actor_task(b"a" * 16)[8:] == b"a" * 16


def test_puts_never_meet_returns() -> None:
    ids = TaskIds(JOB)
    put = ids.next_put()
    assert len(put) == 28 and put[:24] == ids.own
    assert int.from_bytes(put[24:], "little") >= 1 << 31


def test_a_new_prefix_is_drawn_when_the_counter_is_used_up() -> None:
    ids = TaskIds(JOB)
    ids._source = (ids._source[0], itertools.count(task_ids._PER_PREFIX - 2))
    drawn = [ids.next_task() for _ in range(5)]
    assert len(set(drawn)) == 5
    assert drawn[1][:5] != drawn[2][:5]
    assert drawn[2][:5] == drawn[4][:5]


def test_puts_go_on_under_a_new_name_when_their_counter_is_used_up() -> None:
    ids = TaskIds(JOB)
    ids._puts = itertools.count((1 << 32) - 1)
    last, first = ids.next_put(), ids.next_put()
    assert last[:24] != first[:24] and len(first) == 28


def test_a_thread_that_is_late_at_the_end_of_a_prefix_repeats_no_id() -> None:
    """The one that draws the first number of a new prefix may be overtaken before it has drawn the prefix."""
    ids = TaskIds(JOB)
    first = [ids.next_task() for _ in range(3)]
    ids._source = (ids._source[0], itertools.count(task_ids._PER_PREFIX + 1))
    assert not set(first) & {ids.next_task() for _ in range(2)}


def test_threads_draw_different_ids() -> None:
    ids = TaskIds(JOB)
    ids._source = (ids._source[0], itertools.count(task_ids._PER_PREFIX - 2000))
    drawn: list[bytes] = []

    def draw() -> None:
        drawn.extend([ids.next_task() for _ in range(1000)])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 4000
