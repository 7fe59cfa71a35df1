import asyncio

import pytest
from manta_common.ids import WorkerId
from manta_raylet.clients import exit_drain as last_words
from manta_raylet.clients.exit_drain import LastWords

WHO = WorkerId(b"w" * 28)


def test_a_death_is_judged_when_the_connection_has_ended_and_once() -> None:
    async def run() -> list[str]:
        told: list[str] = []
        words = LastWords()
        words.heard(WHO)  # of one whose end nobody has told
        words.wait(WHO, lambda: told.append("judged"))
        assert told == []
        words.heard(WHO)
        words.heard(WHO)
        return told

    assert asyncio.run(run()) == ["judged"]


def test_a_connection_that_a_forked_process_holds_open_delays_the_judgement_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(last_words, "LAST_WORDS_S", 0.001)

    async def run() -> None:
        judged = asyncio.Event()
        LastWords().wait(WHO, judged.set)
        await asyncio.wait_for(judged.wait(), 10)

    asyncio.run(run())
