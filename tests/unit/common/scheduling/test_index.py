"""The index answers as a view made anew would, whatever changed in between, and says the same reasons."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import (
    ClusterIndex,
    LabelConstraint,
    LabelOperator,
    NodeLabels,
    NodeView,
    Request,
    Spread,
    choose,
    rank,
)
from manta_common.scheduling.bundles import BundleRequest, BundleStrategy, GroupRequest, place_bundles
from manta_common.scheduling.index import RANKINGS_KEPT

ZONE = LabelConstraint("zone", LabelOperator.IN, ("a",))
FAST = LabelConstraint("disk", LabelOperator.EXISTS)


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(28, "big"))


def request(cpus: float, **more: object) -> Request:
    return Request(resources=ResourceSet.from_floats({"CPU": cpus}), **more)  # type: ignore[arg-type]


REQUESTS = [
    request(1),
    request(4),
    request(9),
    request(1, strategy=Spread()),
    request(2, label_selector=(ZONE,)),
    request(1, strategy=NodeLabels(hard=(ZONE,), soft=(FAST,))),
    Request(resources=ResourceSet(), is_actor=True),
    request(1, argument_bytes={node_id(2): 5, node_id(3): 7}),
]


def group(strategy: BundleStrategy, *cpus: float, kept: tuple[int, ...] = ()) -> GroupRequest:
    bundles = [BundleRequest(ResourceSet.from_floats({"CPU": cpu})) for cpu in cpus]
    bundles.append(BundleRequest(ResourceSet.from_floats({"CPU": 1}), (ZONE,)))
    return GroupRequest(bundles=tuple(bundles), strategy=strategy, kept=tuple(map(node_id, kept)))


GROUPS = [group(strategy, *cpus) for strategy in BundleStrategy for cpus in ((), (2, 2), (1, 3, 4), (1, 1, 1, 1, 1, 1))]
GROUPS += [group(strategy, 2, 1, kept=(1,)) for strategy in BundleStrategy]


class IndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.index = ClusterIndex()

    @rule(
        number=st.integers(0, 9),
        total=st.integers(0, 8),
        free=st.integers(-1, 8),
        labels=st.sampled_from([{}, {"zone": "a"}, {"zone": "b", "disk": "x"}, {"zone": "a", "disk": "x"}]),
        placed=st.integers(0, 3),
        up=st.booleans(),
    )
    def put(self, number: int, total: int, free: int, labels: dict[str, str], placed: int, up: bool) -> None:
        self.index.put(
            NodeView(
                node_id=node_id(number),
                total=ResourceSet.from_floats({"CPU": total}),
                available=ResourceSet({"CPU": min(free, total) * 10_000}),
                labels=labels,
                running=placed % 2,
                spread=placed,
                schedulable=up,
            )
        )

    @rule(number=st.integers(0, 9))
    def remove(self, number: int) -> None:
        self.index.remove(node_id(number))

    @rule(which=st.sampled_from(REQUESTS))
    def ask_one(self, which: Request) -> None:
        """Not all shapes are asked for each time, so that they learn of many changes at once."""
        self.same(which)

    @rule(which=st.sampled_from(GROUPS))
    def ask_group(self, which: GroupRequest) -> None:
        self.same_plan(which)

    def same_plan(self, which: GroupRequest) -> None:
        fresh = dict(self.index)
        assert place_bundles(which, self.index) == place_bundles(which, fresh)
        idle = self.index.idle()
        assert {node.node_id: (node.total, node.available, node.labels) for node in idle.values()} == {
            node.node_id: (node.total, node.total, node.labels) for node in fresh.values()
        }
        assert self.index.total == sum((node.total for node in fresh.values()), ResourceSet())

    def same(self, which: Request) -> None:
        fresh = ClusterIndex(self.index.values())
        answers = [choose(which, view, random.Random(3), node_id(1)) for view in (self.index, fresh)]
        assert answers[0] == answers[1]
        old, new = rank(which, self.index), rank(which, fresh)
        assert (old.free, list(old.able), old.refusal()) == (new.free, list(new.able), new.refusal())

    @invariant()
    def one_shape_is_always_asked(self) -> None:
        self.same(REQUESTS[0])

    def teardown(self) -> None:
        for which in REQUESTS:
            self.same(which)
        for group in GROUPS:
            self.same_plan(group)


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_shapes_beyond_the_bound_are_forgotten_and_come_back() -> None:
    index = ClusterIndex(
        NodeView(node_id=node_id(i), total=ResourceSet({"CPU": 10**9}), available=ResourceSet({"CPU": 10**9}))
        for i in range(4)
    )
    first = rank(request(1), index)
    for number in range(RANKINGS_KEPT + 1):
        rank(request(2 + number), index)
    again = rank(request(1), index)
    assert again is not first and again.free == first.free


def test_a_draw_of_able_nodes_takes_each_once_and_no_more_than_there_are() -> None:
    index = ClusterIndex(
        NodeView(node_id=node_id(i), total=ResourceSet({"CPU": 10_000}), available=ResourceSet()) for i in range(3)
    )
    able = rank(request(1), index).able
    assert sorted(able.sample(random.Random(1), 9)) == [node_id(i) for i in range(3)]
    assert len(able.sample(random.Random(1), 2)) == 2 == len(set(able.sample(random.Random(1), 2)))
    with pytest.raises(KeyError):
        index[node_id(7)]
