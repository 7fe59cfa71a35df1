import asyncio

import pytest
from manta_raylet.gcs.report_timer import Bell

FAR = 3_600.0


async def waits(bell: Bell, latest: float = FAR, together: float = FAR) -> "asyncio.Task[None]":
    now = asyncio.get_running_loop().time()
    task = asyncio.create_task(bell.wait(now + latest, now + together))
    await turns()
    return task


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_somebody_waits_for_is_told_at_once() -> None:
    bell = Bell()
    waiting = await waits(bell)
    bell.ring_now()
    await waiting


async def test_news_that_others_may_join_waits_for_them_and_is_told_with_what_cannot_wait() -> None:
    bell = Bell()
    waiting = await waits(bell)
    bell.ring()
    bell.ring()
    await turns()
    assert not waiting.done()
    bell.ring_now()
    await waiting


@pytest.mark.parametrize("times", [{"latest": 0.0}, {"together": 0.0}])
async def test_neither_waits_for_ever(times: dict[str, float]) -> None:
    bell = Bell()
    if "together" in times:
        bell.ring()
    await (await waits(bell, **times))


async def test_each_ring_counts_once_also_when_it_comes_before_the_wait() -> None:
    bell = Bell()
    bell.ring_now()
    await (await waits(bell))
    waiting = await waits(bell)
    assert not waiting.done()
    bell.ring_now()
    await waiting


async def test_news_that_more_is_about_to_follow_rings_once_for_all_of_it() -> None:
    bell = Bell()
    waiting = await waits(bell)
    bell.ring_within(0.01)
    bell.ring_within(FAR)
    assert not waiting.done()
    await waiting
    # What was to ring for news that has been told meanwhile does not ring again.
    bell.ring_within(0.01)
    bell.ring_now()
    await (await waits(bell))
    waiting = await waits(bell)
    assert bell._soon is None and not waiting.done()
    bell.ring_now()
    await waiting
