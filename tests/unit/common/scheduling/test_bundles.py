"""The four bundle policies: where bundles go, and what is said when they go nowhere."""

import itertools
from random import Random

import pytest
from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import Infeasible, LabelConstraint, LabelOperator, NodeView, Refusal
from manta_common.scheduling.bundle_use import BundleRefusal, BundleView, choose_bundle
from manta_common.scheduling.bundles import BundleRequest, BundleStrategy, GroupRequest, place_bundles

PACK, SPREAD = BundleStrategy.PACK, BundleStrategy.SPREAD
STRICT_PACK, STRICT_SPREAD = BundleStrategy.STRICT_PACK, BundleStrategy.STRICT_SPREAD
ZONE_A = (LabelConstraint("zone", LabelOperator.IN, ("a",)),)


def node(number: int, cpu: float, free: float | None = None, schedulable: bool = True, **labels: str) -> NodeView:
    return NodeView(
        node_id=NodeId(bytes([number]) * 28),
        total=ResourceSet.from_floats({"CPU": cpu}),
        available=ResourceSet.from_floats({"CPU": cpu if free is None else free}),
        labels=labels,
        schedulable=schedulable,
    )


def view(*nodes: NodeView) -> dict[NodeId, NodeView]:
    return {n.node_id: n for n in nodes}


def group(
    strategy: BundleStrategy, *cpus: float, kept: tuple[int, ...] = (), target: int | None = None
) -> GroupRequest:
    return GroupRequest(
        bundles=tuple(BundleRequest(ResourceSet.from_floats({"CPU": cpu})) for cpu in cpus),
        strategy=strategy,
        kept=tuple(NodeId(bytes([number]) * 28) for number in kept),
        soft_target=NodeId(bytes([target]) * 28) if target is not None else None,
    )


def placed(request: GroupRequest, *nodes: NodeView) -> list[int]:
    plan = place_bundles(request, view(*nodes))
    assert isinstance(plan, tuple), str(plan)
    return [node_id[0] for node_id in plan]


def test_pack_takes_one_node_where_one_is_enough() -> None:
    assert placed(group(PACK, 1, 1), node(1, 1), node(2, 2), node(3, 8)) == [2, 2]


def test_pack_takes_as_few_nodes_as_it_needs() -> None:
    assert sorted(placed(group(PACK, 2, 2, 2), node(1, 2), node(2, 4), node(3, 2))) == [1, 2, 2]


def test_pack_goes_where_the_rest_of_the_group_is() -> None:
    assert placed(group(PACK, 1, kept=(3,)), node(1, 1), node(2, 1), node(3, 8)) == [3]


def test_strict_pack_wants_one_node_and_prefers_its_target() -> None:
    nodes = node(1, 2), node(2, 8), node(3, 8)
    assert placed(group(STRICT_PACK, 1, 1), *nodes) == [1, 1]
    assert placed(group(STRICT_PACK, 1, 1, target=3), *nodes) == [3, 3]
    assert placed(group(STRICT_PACK, 4, 4, target=1), *nodes) == [2, 2]
    assert isinstance(place_bundles(group(STRICT_PACK, 8, 1), view(*nodes)), Infeasible)


def test_spread_takes_nodes_apart_and_shares_them_where_it_must() -> None:
    assert sorted(placed(group(SPREAD, 1, 1), node(1, 4), node(2, 4))) == [1, 2]
    assert sorted(placed(group(SPREAD, 1, 1, 1, 1), node(1, 4), node(2, 4))) == [1, 1, 2, 2]
    assert placed(group(SPREAD, 1, kept=(1,)), node(1, 9), node(2, 4, free=1)) == [2]


def test_strict_spread_wants_a_node_for_each_beside_those_that_are_kept() -> None:
    nodes = node(1, 4), node(2, 4)
    assert sorted(placed(group(STRICT_SPREAD, 1, 1), *nodes)) == [1, 2]
    refused = place_bundles(group(STRICT_SPREAD, 1, 1, kept=(1,)), view(*nodes))
    assert isinstance(refused, Infeasible) and "STRICT_SPREAD" in str(refused)


def test_strict_spread_finds_a_plan_whenever_there_is_one() -> None:
    """Against every assignment, on small clusters where a greedy choice goes wrong."""
    rng = Random(1)
    for _ in range(300):
        nodes = [node(number, rng.choice((1, 2, 3))) for number in range(1, 5)]
        cpus = [rng.choice((1, 2, 3)) for _ in range(rng.randint(1, 4))]
        possible = any(
            all(n.available.get("CPU") >= cpu * 10_000 for n, cpu in zip(chosen, cpus, strict=True))
            for chosen in itertools.permutations(nodes, len(cpus))
        )
        plan = place_bundles(group(STRICT_SPREAD, *cpus), view(*nodes))
        assert isinstance(plan, tuple) == possible
        if isinstance(plan, tuple):
            assert len(set(plan)) == len(cpus)


@pytest.mark.parametrize("strategy", BundleStrategy)
def test_a_plan_never_takes_more_than_a_node_has(strategy: BundleStrategy) -> None:
    rng = Random(2)
    for _ in range(200):
        nodes = [node(number, 4, free=rng.randint(0, 4)) for number in range(1, 6)]
        request = group(strategy, *(rng.choice((0.5, 1, 2)) for _ in range(rng.randint(1, 5))))
        plan = place_bundles(request, view(*nodes))
        if not isinstance(plan, tuple):
            continue
        taken: dict[NodeId, ResourceSet] = {}
        for bundle, node_id in zip(request.bundles, plan, strict=True):
            taken[node_id] = taken.get(node_id, ResourceSet()) + bundle.resources
        assert all(n.available.covers(taken.get(n.node_id, ResourceSet())) for n in nodes)
        if strategy is STRICT_PACK:
            assert len(set(plan)) == 1
        if strategy is STRICT_SPREAD:
            assert len(set(plan)) == len(plan)


def test_labels_are_met_by_each_bundle() -> None:
    bundles = (BundleRequest(ResourceSet.from_floats({"CPU": 1}), ZONE_A), BundleRequest(ResourceSet({"CPU": 10_000})))
    request = GroupRequest(bundles=bundles, strategy=PACK)
    assert placed(request, node(1, 1, zone="b"), node(2, 1, zone="a")) == [2, 1]
    refused = place_bundles(request, view(node(1, 9, zone="b")))
    assert isinstance(refused, Infeasible) and refused.filtered == {"label zone in a": 1}


def test_a_refusal_says_what_is_short_now_and_an_infeasible_what_always_is() -> None:
    busy = place_bundles(group(PACK, 2), view(node(1, 4, free=1), node(2, 4, schedulable=False)))
    assert isinstance(busy, Refusal)
    assert (busy.exhausted, busy.filtered) == ({"CPU": 1}, {"draining or out of touch": 1})
    never = place_bundles(group(PACK, 5), view(node(1, 4), node(2, 4)))
    assert isinstance(never, Infeasible) and never.missing == {"CPU": 2}


def test_no_node_at_all_is_infeasible_and_no_bundle_a_bug() -> None:
    assert isinstance(place_bundles(group(SPREAD, 1), {}), Infeasible)
    with pytest.raises(ValueError, match="without bundles"):
        place_bundles(group(PACK), {})


def bundle(index: int, free: float, total: float = 2, at: int | None = 1, usable: bool = True) -> BundleView:
    return BundleView(
        index=index,
        node_id=NodeId(bytes([at]) * 28) if at is not None else None,
        total=ResourceSet.from_floats({"CPU": total}),
        available=ResourceSet.from_floats({"CPU": free}),
        usable=usable,
    )


ONE = ResourceSet.from_floats({"CPU": 1})


def test_a_request_goes_to_the_bundle_it_names_or_to_the_emptiest() -> None:
    bundles = [bundle(0, 1), bundle(1, 2)]
    for index, chosen in ((-1, 1), (0, 0)):
        found = choose_bundle(ONE, index, bundles)
        assert isinstance(found, BundleView) and found.index == chosen


@pytest.mark.parametrize(
    ("index", "bundles", "words", "final"),
    [
        (3, [bundle(0, 2)], "none of index 3", True),
        (-1, [bundle(0, 0.5, total=0.5)], "larger than any bundle", True),
        (-1, [bundle(0, 2, at=None)], "no node", False),
        (-1, [bundle(0, 2, usable=False)], "out of touch", False),
        (-1, [bundle(0, 0.5)], "none has room", False),
    ],
)
def test_why_a_request_waits_for_a_bundle(index: int, bundles: list[BundleView], words: str, final: bool) -> None:
    refused = choose_bundle(ONE, index, bundles)
    assert isinstance(refused, BundleRefusal) and words in refused.reason and refused.final == final
