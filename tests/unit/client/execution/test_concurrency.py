"""Which call of an actor may start: limits, lines and groups."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray._runtime.execution.concurrency import DEFAULT_GROUP, ConcurrencyGroups, UnknownGroup


def test_calls_start_up_to_the_limit_and_then_one_for_one() -> None:
    groups: ConcurrencyGroups[str] = ConcurrencyGroups(2, {})
    group = groups.group(DEFAULT_GROUP)
    assert [groups.arrived(group, call) for call in "abcd"] == [True, True, False, False]
    assert groups.ended(group) == "c"
    assert groups.ended(group) == "d"
    assert groups.ended(group) is None
    assert groups.running() == 1


def test_a_full_group_holds_up_no_other() -> None:
    groups: ConcurrencyGroups[str] = ConcurrencyGroups(1, {"health": 1, "compute": 1})
    assert groups.arrived(groups.group("compute"), "long")
    assert not groups.arrived(groups.group("compute"), "behind")
    assert groups.arrived(groups.group("health"), "ping")
    assert groups.arrived(groups.group(DEFAULT_GROUP), "plain")


def test_a_call_that_waits_can_be_withdrawn_and_one_that_runs_cannot() -> None:
    groups: ConcurrencyGroups[str] = ConcurrencyGroups(1, {"io": 1})
    for name in ("", "io"):
        for call in ("a", "b"):
            groups.arrived(groups.group(name), name + call)
    assert list(groups.waiting()) == ["b", "iob"]
    assert groups.withdraw("iob")
    assert not groups.withdraw("iob")
    assert not groups.withdraw("ioa")
    assert groups.ended(groups.group("io")) is None


def test_all_calls_that_wait_can_be_withdrawn_at_once_and_those_that_run_go_on() -> None:
    groups: ConcurrencyGroups[str] = ConcurrencyGroups(1, {"io": 1})
    for call in "abc":
        groups.arrived(groups.group("io"), call)
        groups.arrived(groups.group(DEFAULT_GROUP), call)
    assert sorted(groups.withdraw_all()) == ["b", "b", "c", "c"]
    assert groups.running() == 2
    assert list(groups.waiting()) == []


def test_an_unknown_group_is_named_with_those_that_exist() -> None:
    groups: ConcurrencyGroups[str] = ConcurrencyGroups(1, {"io": 1})
    with pytest.raises(UnknownGroup, match=r"'nope'.*\['io'\]"):
        groups.group("nope")


@pytest.mark.parametrize(("default", "limits"), [(0, {}), (1, {"io": 0})])
def test_a_group_without_room_is_refused(default: int, limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ConcurrencyGroups(default, limits)


@given(
    limits=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    steps=st.lists(st.tuples(st.sampled_from(["arrive", "end", "withdraw"]), st.sampled_from(["", "io"])), max_size=60),
)
def test_limits_hold_nothing_is_lost_and_lines_keep_their_order(
    limits: tuple[int, int], steps: list[tuple[str, str]]
) -> None:
    groups: ConcurrencyGroups[int] = ConcurrencyGroups(limits[0], {"io": limits[1]})
    allowed = dict(zip(("", "io"), limits, strict=True))
    running: dict[str, list[int]] = {"": [], "io": []}
    waiting: dict[str, list[int]] = {"": [], "io": []}
    for call, (step, name) in enumerate(steps):
        group = groups.group(name)
        if step == "arrive":
            (running if groups.arrived(group, call) else waiting)[name].append(call)
        elif step == "end" and running[name]:
            running[name].pop()
            following = groups.ended(group)
            assert following == (waiting[name].pop(0) if waiting[name] else None)
            if following is not None:
                running[name].append(following)
        elif step == "withdraw" and waiting[name]:
            assert groups.withdraw(waiting[name].pop())
        for each, limit in allowed.items():
            assert len(running[each]) == groups.group(each).running <= limit
            assert not waiting[each] or len(running[each]) == limit
        assert list(groups.waiting()) == waiting[""] + waiting["io"]
