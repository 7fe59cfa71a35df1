import asyncio
from typing import Any

import pytest
from manta_common.ids import JobId, NodeId, WorkerId
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_raylet.clients import reference_survey
from manta_raylet.clients.client import Client
from manta_raylet.clients.reference_survey import LIMIT, ReferenceSurvey


class AskedLink:
    """Keeps what a client was sent."""

    closed = False

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, kind: int, message: Any) -> None:
        self.sent.append(message)


def client(number: int, *, local: bool = True) -> Client:
    one = Client(
        WorkerId(bytes([number]) * 28), common_pb2.WORKER, NodeId(b"n" * 28), JobId(b"job1"), number, local=local
    )
    one.link = AskedLink()  # type: ignore[assignment]
    return one


def answer(to: raylet_pb2.ReferencesWanted) -> raylet_pb2.ReferenceList:
    return raylet_pb2.ReferenceList(request_id=to.request_id, total=1, items=[raylet_pb2.ReferenceList.Item()])


async def test_every_local_process_is_asked_and_those_that_are_silent_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reference_survey, "ANSWER_TIMEOUT_S", 0.05)
    survey = ReferenceSurvey()
    answers, silent, remote = client(1), client(2), client(3, local=False)
    asking = asyncio.create_task(survey.ask([answers, silent, remote], 100_000))
    await asyncio.sleep(0)
    assert remote.link.sent == []  # type: ignore[union-attr]
    (wanted,) = answers.link.sent  # type: ignore[union-attr]
    assert wanted.limit == LIMIT
    survey.answered(answers.id, answer(wanted))
    reply = await asking
    assert ([process.pid for process in reply.processes], reply.silent) == ([1], 1)
    survey.answered(silent.id, answer(wanted))  # too late: nobody waits


async def test_nobody_there_is_an_empty_answer() -> None:
    assert list((await ReferenceSurvey().ask([], 1)).processes) == []
