"""The scheduling policies: which node is named, and which reason is given when none is."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import (
    HybridSettings,
    Infeasible,
    LabelConstraint,
    LabelOperator,
    NodeAffinity,
    NodeLabels,
    NodeView,
    PlacementGroup,
    Refusal,
    Request,
    Spread,
    choose,
    strategy_from_proto,
)
from manta_proto.common.v1 import common_pb2


def node_id(number: int) -> NodeId:
    return NodeId(bytes([number]) * 28)


def node(number: int, cpus: float = 4, free: float | None = None, **more: object) -> NodeView:
    total = ResourceSet.from_floats({"CPU": cpus})
    available = total if free is None else ResourceSet({"CPU": round(free * 10_000)})
    return NodeView(node_id=node_id(number), total=total, available=available, **more)  # type: ignore[arg-type]


def view(*nodes: NodeView) -> dict[NodeId, NodeView]:
    return {item.node_id: item for item in nodes}


def cpus(amount: float, **more: object) -> Request:
    return Request(resources=ResourceSet.from_floats({"CPU": amount}), **more)  # type: ignore[arg-type]


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


def test_a_node_under_half_used_scores_like_an_idle_one_and_the_local_node_wins_the_tie(rng: random.Random) -> None:
    cluster = view(node(1), node(2, free=3), node(3))
    assert choose(cpus(1), cluster, rng, local_node=node_id(2)) == node_id(2)
    assert choose(cpus(1), cluster, rng, local_node=node_id(3)) == node_id(3)


def test_a_local_node_half_used_loses_to_a_less_used_one(rng: random.Random) -> None:
    cluster = view(node(1, free=2), node(2, free=3))
    assert choose(cpus(1), cluster, rng, local_node=node_id(1)) == node_id(2)


def test_nodes_that_run_something_come_before_idle_ones(rng: random.Random) -> None:
    cluster = view(node(1), node(2, free=3.5), node(3))
    assert choose(cpus(1), cluster, rng) == node_id(2)


def test_the_choice_is_random_among_the_top_fifth(rng: random.Random) -> None:
    cluster = view(*(node(i, free=4 - i * 0.1 if i > 10 else None) for i in range(20)))
    seen = {choose(cpus(0.1), cluster, rng) for _ in range(400)}
    assert len(seen) == 4  # 20 nodes x 0.2
    narrow = HybridSettings(top_k_fraction=0.0, top_k_absolute=2)
    assert len({choose(cpus(0.1), cluster, rng, settings=narrow) for _ in range(100)}) == 2


def test_a_refusal_counts_the_nodes_that_lack_free_resources(rng: random.Random) -> None:
    answer = choose(cpus(2), view(node(1, free=1), node(2, cpus=1), node(3, schedulable=False)), rng)
    assert isinstance(answer, Refusal)
    assert answer.nodes_seen == 3
    assert answer.exhausted == {"CPU": 1}
    assert answer.filtered == {"draining or out of touch": 1}
    assert "1 lack free CPU" in str(answer)


def test_what_no_idle_node_could_hold_is_infeasible_but_not_final(rng: random.Random) -> None:
    answer = choose(cpus(9), view(node(1), node(2)), rng)
    assert isinstance(answer, Infeasible) and not answer.final
    assert answer.missing == {"CPU": 2}
    empty = choose(cpus(1), {}, rng)
    assert isinstance(empty, Infeasible) and empty.nodes_seen == 0


def test_spread_takes_the_node_with_fewest_placed(rng: random.Random) -> None:
    running = Counter({node_id(i): 0 for i in range(4)})
    for _ in range(10):
        cluster = view(*(node(i, running=running[node_id(i)]) for i in range(4)))
        chosen = choose(cpus(1, strategy=Spread()), cluster, rng)
        running[chosen] += 1  # type: ignore[index]
    assert sorted(running.values()) == [2, 2, 3, 3]


def test_a_hard_affinity_waits_for_a_busy_node_and_fails_for_a_dead_or_small_one(rng: random.Random) -> None:
    hard = NodeAffinity(node_id(1), soft=False)
    assert choose(cpus(1, strategy=hard), view(node(1), node(2)), rng) == node_id(1)
    assert isinstance(choose(cpus(1, strategy=hard), view(node(1, free=0), node(2)), rng), Refusal)
    dead = choose(cpus(1, strategy=hard), view(node(2)), rng)
    assert isinstance(dead, Infeasible) and dead.final and node_id(1).hex() in str(dead)
    small = choose(cpus(9, strategy=hard), view(node(1), node(2, cpus=16)), rng)
    assert isinstance(small, Infeasible) and small.final and "CPU: 9" in str(small)


def test_a_soft_affinity_waits_for_a_busy_node_but_leaves_a_dead_or_small_one(rng: random.Random) -> None:
    soft = NodeAffinity(node_id(1), soft=True)
    assert isinstance(choose(cpus(1, strategy=soft), view(node(1, free=0), node(2)), rng), Refusal)
    assert choose(cpus(1, strategy=soft), view(node(2)), rng) == node_id(2)
    assert choose(cpus(9, strategy=soft), view(node(1), node(2, cpus=16)), rng) == node_id(2)


def test_hard_labels_filter_and_soft_ones_prefer(rng: random.Random) -> None:
    zone_a = LabelConstraint("zone", LabelOperator.IN, ("a",))
    fast = LabelConstraint("disk", LabelOperator.IN, ("ssd",))
    cluster = view(
        node(1, labels={"zone": "a"}), node(2, labels={"zone": "a", "disk": "ssd"}), node(3, labels={"disk": "ssd"})
    )
    strategy = NodeLabels(hard=(zone_a,), soft=(fast,))
    assert {choose(cpus(1, strategy=strategy), cluster, rng) for _ in range(20)} == {node_id(2)}
    del cluster[node_id(2)]
    assert choose(cpus(1, strategy=strategy), cluster, rng) == node_id(1)
    del cluster[node_id(1)]
    answer = choose(cpus(1, strategy=strategy), cluster, rng)
    assert isinstance(answer, Infeasible) and answer.filtered == {"label zone in a": 1}


@pytest.mark.parametrize(
    ("operator", "values", "with_label", "without"),
    [
        (LabelOperator.IN, ("a",), True, False),
        (LabelOperator.NOT_IN, ("a",), False, True),
        (LabelOperator.EXISTS, (), True, False),
        (LabelOperator.DOES_NOT_EXIST, (), False, True),
    ],
)
def test_label_operators(operator: LabelOperator, values: tuple[str, ...], with_label: bool, without: bool) -> None:
    constraint = LabelConstraint("zone", operator, values)
    assert constraint.matches({"zone": "a"}) is with_label
    assert constraint.matches({}) is without


def test_a_label_selector_holds_beside_a_strategy(rng: random.Random) -> None:
    selector = (LabelConstraint("zone", LabelOperator.IN, ("a",)),)
    cluster = view(node(1), node(2, labels={"zone": "a"}, running=5))
    assert choose(cpus(1, strategy=Spread(), label_selector=selector), cluster, rng) == node_id(2)


def test_zero_resource_actors_go_anywhere_also_to_full_nodes(rng: random.Random) -> None:
    cluster = view(node(1, free=0), node(2), node(3, free=-1))
    nothing = Request(resources=ResourceSet(), is_actor=True)
    assert {choose(nothing, cluster, rng) for _ in range(60)} == set(cluster)


def test_a_task_goes_to_the_node_with_most_argument_bytes_unless_it_is_full(rng: random.Random) -> None:
    sizes = {node_id(2): 10, node_id(3): 500}
    assert choose(cpus(1, argument_bytes=sizes), view(node(1), node(2), node(3, free=1)), rng) == node_id(3)
    full = view(node(1), node(2), node(3, free=0))
    assert choose(cpus(1, argument_bytes=sizes), full, rng, local_node=node_id(1)) == node_id(1)


def test_an_unknown_placement_group_is_final(rng: random.Random) -> None:
    answer = choose(cpus(1, strategy=PlacementGroup(b"p" * 18)), view(node(1)), rng)  # type: ignore[arg-type]
    assert isinstance(answer, Infeasible) and answer.final


def test_strategies_are_read_from_messages_and_malformed_ones_are_named() -> None:
    message = common_pb2.SchedulingStrategy(simple=common_pb2.SchedulingStrategy.SPREAD)
    assert strategy_from_proto(message) == Spread()
    message = common_pb2.SchedulingStrategy(node_affinity=common_pb2.NodeAffinity(node_id=node_id(1), soft=True))
    assert strategy_from_proto(message) == NodeAffinity(node_id(1), soft=True)
    with pytest.raises(ValueError, match="28 bytes"):
        strategy_from_proto(common_pb2.SchedulingStrategy(node_affinity=common_pb2.NodeAffinity(node_id=b"x")))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(-2, 8), st.booleans()), max_size=8),
    st.integers(0, 10),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_a_chosen_node_always_has_room_and_a_refusal_means_that_none_has(
    nodes: list[tuple[int, int, bool]], wanted: int, spread: bool, seed: int
) -> None:
    cluster = view(
        *(node(i, cpus=total, free=min(free, total), schedulable=up) for i, (total, free, up) in enumerate(nodes))
    )
    request = cpus(wanted, strategy=Spread()) if spread else cpus(wanted)
    answer = choose(request, cluster, random.Random(seed))
    fits = {n.node_id for n in cluster.values() if n.schedulable and n.available.covers(request.resources)}
    could = {n.node_id for n in cluster.values() if n.total.covers(request.resources)}
    fits &= could
    if isinstance(answer, Refusal):
        assert not fits and could
    elif isinstance(answer, Infeasible):
        assert not could
    else:
        assert answer in fits


def test_the_hybrid_settings_come_from_the_environment_and_the_system_config_overrides_it() -> None:
    env = {"RAY_scheduler_spread_threshold": "0.25", "RAY_scheduler_top_k_absolute": "3"}
    assert HybridSettings.read({}, {}) == HybridSettings()
    assert HybridSettings.read(env, {"scheduler_top_k_absolute": 2}) == HybridSettings(
        spread_threshold=0.25, top_k_absolute=2
    )
    for wrong in (
        {"scheduler_spread_threshold": 2},
        {"scheduler_top_k_fraction": "x"},
        {"scheduler_top_k_absolute": -1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            HybridSettings.read({}, wrong)
