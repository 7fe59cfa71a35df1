"""Links to raylets elsewhere: one stream each, nothing lost when it breaks, no haste while none can be opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from manta_common.ids import LeaseId
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from ray._runtime.transport.raylets import LONGEST_RETRY_S, RayletLink, Raylets

NODE = b"n" * 28
LEASE = LeaseId(b"l" * 16)


class RecordedChannel:
    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.closed = False

    def queue(self, kind: int, payload: bytes) -> None:
        self.sent.append((kind, payload))

    send = queue

    def close(self, reason: str = "") -> None:
        self.closed = True


class Scene:
    """A process of which only what Raylets uses is there."""

    def __init__(self) -> None:
        self.opened: list[tuple[RecordedChannel, Callable[[str], None]]] = []
        self.gone: list[bytes] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        leasing = SimpleNamespace(on_raylet_gone=lambda link: self.gone.append(link.node_id))
        process: Any = SimpleNamespace(
            lock=threading.RLock(),
            remote=SimpleNamespace(open_raylet=self._open),
            submitter=SimpleNamespace(leasing=leasing),
            reactor=SimpleNamespace(call_later=lambda delay, call: self.timers.append((delay, call))),
            raylet_welcomed=lambda link, welcome: None,
            raylet=None,
            closing=False,
        )
        self.raylets = Raylets(process)
        self.raylets.nodes[NODE] = common_pb2.NodeInfo(node_id=NODE, raylet_address="a:1")

    def _open(self, link: RayletLink, address: str, closed: Callable[[str], None]) -> None:
        channel = RecordedChannel()
        link.channel = channel  # type: ignore[assignment]
        self.opened.append((channel, closed))

    def link(self) -> RayletLink:
        return self.raylets.get(NODE, "a:1")

    def welcome(self, link: RayletLink) -> None:
        self.raylets.receive(link, raylet_pb2.WELCOME, common_pb2.Welcome().SerializeToString())

    def elapse(self) -> float:
        delay, call = self.timers.pop()
        call()
        return delay


def returned(lease_id: bytes = LEASE) -> raylet_pb2.LeaseReturned:
    return raylet_pb2.LeaseReturned(lease_id=lease_id, retire_worker=True)


def test_a_lease_given_back_over_a_stream_that_broke_is_given_back_on_the_next() -> None:
    scene = Scene()
    link = scene.link()
    scene.welcome(link)
    link.give_back(LEASE, returned())
    scene.opened[0][1]("reset")
    assert scene.gone == [NODE]
    link.give_back(LeaseId(b"m" * 16), returned(b"m" * 16))  # while there is no stream
    scene.elapse()
    assert len(scene.opened) == 2, "it is opened again for what is to be settled"
    for lease_id in (LEASE, b"m" * 16):
        assert link.give_back_again(lease_id)
        assert scene.opened[1][0].sent[-1] == (raylet_pb2.LEASE_RETURNED, returned(lease_id).SerializeToString())
    assert not link.give_back_again(b"x" * 16)


def test_output_that_was_wanted_is_wanted_on_the_next_stream() -> None:
    scene = Scene()
    link = scene.link()
    scene.welcome(link)
    link.logs_wanted = True
    scene.opened[0][1]("reset")
    scene.elapse()
    assert [kind for kind, _ in scene.opened[1][0].sent] == [raylet_pb2.LOGS_WANTED]


def test_a_raylet_that_cannot_be_reached_is_tried_ever_more_rarely() -> None:
    scene = Scene()
    delays = []
    for attempt in range(6):
        assert scene.link() is scene.link()
        assert len(scene.opened) == attempt + 1
        scene.opened[-1][1]("connection refused")
        assert len(scene.gone) == attempt, "nobody is asked instead before the time is up"
        scene.link()
        assert len(scene.opened) == attempt + 1, "it rests"
        delays.append(scene.elapse())
        assert len(scene.gone) == attempt + 1
    assert delays == sorted(delays) and delays[0] < 0.2 and delays[-1] == LONGEST_RETRY_S


def test_a_dead_node_is_not_tried_again() -> None:
    scene = Scene()
    link = scene.link()
    link.give_back(LEASE, returned())
    scene.raylets.nodes[NODE].state = common_pb2.NodeInfo.DEAD
    scene.opened[0][1]("reset")
    scene.elapse()
    assert len(scene.opened) == 1


def test_a_finalizer_that_runs_while_a_link_is_opened_may_have_links_opened_itself() -> None:
    scene = Scene()
    other = b"o" * 28
    opened = scene._open

    def opening(link: RayletLink, address: str, closed: Callable[[str], None]) -> None:
        if link.node_id == NODE:
            assert scene.raylets.get(other, "b:1").channel is not None
        opened(link, address, closed)

    scene.raylets._process.remote.open_raylet = opening  # type: ignore[method-assign]
    opener = threading.Thread(target=scene.link, daemon=True)
    opener.start()
    opener.join(20.0)
    assert not opener.is_alive() and scene.link().channel is not None


def test_a_link_that_is_lost_between_two_looks_takes_a_message() -> None:
    class Lost(RayletLink):
        looks = 0

        @property
        def channel(self) -> Any:
            self.looks += 1
            return RecordedChannel() if self.looks == 1 else None

        @channel.setter
        def channel(self, _channel: Any) -> None: ...

    for say in (lambda link: link.queue(1, b""), lambda link: link.send(1, b"")):
        say(Lost(NODE, None))  # type: ignore[arg-type, no-untyped-call]
