"""Partly lost groups that wait for one another: who gives way, and who does not."""

from manta_common.ids import NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling import LabelConstraint, LabelOperator, NodeView
from manta_common.scheduling.bundles import BundleRequest, BundleStrategy, GroupRequest
from manta_gcs.placement_groups.group_deadlock import PartlyLost, who_gives_way

ONE = ResourceSet.from_floats({"CPU": 1})


def node(slot: str, free: int = 0) -> NodeView:
    return NodeView(
        node_id=NodeId(slot.encode() * 28),
        total=ONE,
        available=ResourceSet.from_floats({"CPU": free}),
        labels={"slot": slot},
    )


def lost(order: int, wants: str, holds: str) -> PartlyLost:
    """A group that lost its bundle in one slot and has one in another."""
    label = LabelConstraint("slot", LabelOperator.IN, (wants,))
    request = GroupRequest(bundles=(BundleRequest(ONE, (label,)),), strategy=BundleStrategy.PACK)
    held = ((NodeId(holds.encode() * 28), ONE),) if holds else ()
    return PartlyLost(PlacementGroupId(bytes([order]) * 18), order, request, held)


def yields(waiting: list[PartlyLost], *nodes: NodeView) -> int | None:
    found = who_gives_way(waiting, {n.node_id: n for n in nodes})
    return found[0] if found is not None else None


def test_of_two_that_hold_what_the_other_wants_the_younger_gives_way() -> None:
    first, second = lost(1, wants="a", holds="b"), lost(2, wants="b", holds="a")
    assert yields([first, second], node("a"), node("b")) == 2
    assert yields([second, first], node("a"), node("b")) == 2


def test_nobody_gives_way_while_one_of_them_can_be_placed() -> None:
    waiting = [lost(1, wants="a", holds="b"), lost(2, wants="b", holds="a")]
    assert yields(waiting, node("a", free=1), node("b")) is None


def test_who_waits_for_something_else_neither_gives_way_nor_makes_others() -> None:
    waiting = [lost(1, wants="a", holds="b"), lost(2, wants="z", holds="a")]  # there is no slot z
    assert yields(waiting, node("a"), node("b")) is None


def test_a_group_that_holds_nothing_any_more_has_nothing_to_give() -> None:
    assert yields([lost(1, wants="a", holds="b"), lost(2, wants="b", holds="")], node("a"), node("b")) is None


def test_a_circle_of_three_is_broken_by_the_youngest_that_helps_an_older_one() -> None:
    waiting = [lost(1, wants="b", holds="a"), lost(2, wants="c", holds="b"), lost(3, wants="a", holds="c")]
    assert yields(waiting, node("a"), node("b"), node("c")) == 3


def test_one_that_would_help_nobody_is_spared() -> None:
    # 1 and 2 block each other; 3 waits for 1's slot too, but nobody wants what it holds.
    waiting = [lost(1, wants="a", holds="b"), lost(2, wants="b", holds="a"), lost(3, wants="b", holds="c")]
    assert yields(waiting, node("a"), node("b"), node("c")) == 2
