"""Splitting groups: whole groups, in order, within the limits, with the same final state."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manta_gcs.store.batching import split_groups
from manta_gcs.store.operations import (
    MAX_BYTES,
    MAX_OPERATIONS,
    Delete,
    DeleteRange,
    Op,
    Put,
    check_txn,
    prefix_end,
    size_of,
)

keys = st.sampled_from([b"a", b"a/1", b"a/2", b"a/2/x", b"b", b"b/1", b"\xff", b"\xff\xff"])
ops = st.one_of(
    st.builds(Put, keys, st.binary(max_size=3).map(lambda value: value * 60_000)),
    st.builds(Delete, keys),
    st.builds(DeleteRange, st.sampled_from([b"a/", b"b", b"\xff"])),
)


def apply(state: dict[bytes, bytes], group: list[Op] | tuple[Op, ...]) -> None:
    for op in group:
        match op:
            case Put(key=key, value=value):
                state[key] = value
            case Delete(key=key):
                state.pop(key, None)
            case DeleteRange(prefix=prefix):
                for key in [key for key in state if key.startswith(prefix)]:
                    del state[key]


def puts_after_its_range_delete(group: list[Op]) -> bool:
    deleted: list[bytes] = []
    for op in group:
        if isinstance(op, DeleteRange):
            deleted.append(op.prefix)
        elif isinstance(op, Put) and any(op.key.startswith(prefix) for prefix in deleted):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(ops, max_size=6), max_size=25),
    st.dictionaries(keys, st.just(b"before"), max_size=4),
)
def test_the_parts_have_the_effect_of_the_groups_one_after_another(
    groups: list[list[Op]], before: dict[bytes, bytes]
) -> None:
    groups = [group for group in groups if not puts_after_its_range_delete(group)]
    expected, actual = dict(before), dict(before)
    states = [dict(expected)]  # what may be seen between txns: the state after some whole group
    for group in groups:
        apply(expected, group)
        states.append(dict(expected))
    for part in split_groups(groups):
        check_txn([], part.ops)  # every driver can apply it
        apply(actual, part.ops)
        assert actual in states, "a group was split"
    assert actual == expected


def test_parts_are_full_up_to_the_limit_of_operations() -> None:
    groups = [[Put(b"%d" % i, b"")] for i in range(250)]
    assert [len(part.ops) for part in split_groups(groups)] == [100, 100, 50]


def test_parts_are_full_up_to_the_limit_of_bytes() -> None:
    groups = [[Put(b"%d" % i, b"x" * 400_000)] for i in range(5)]
    parts = split_groups(groups)
    assert [len(part.ops) for part in parts] == [2, 2, 1]
    assert all(sum(map(size_of, part.ops)) <= MAX_BYTES for part in parts)


def test_a_group_of_exactly_the_limit_stays_whole_behind_others() -> None:
    groups = [[Put(b"first", b"")], [Put(b"%d" % i, b"") for i in range(MAX_OPERATIONS)]]
    assert [len(part.ops) for part in split_groups(groups)] == [1, MAX_OPERATIONS]


def test_a_group_over_the_limits_is_named_with_its_largest_operation() -> None:
    with pytest.raises(ValueError, match=r"group 1 .*b'k0'.*101 operations"):
        split_groups([[], [Put(b"k%d" % i, b"") for i in range(101)]])
    with pytest.raises(ValueError, match=r"group 0 .*b'small'.*largest is Put\(b'large'\) with 2000"):
        split_groups([[Put(b"small", b""), Put(b"large", b"x" * 2_000_000)]])


def test_a_group_that_puts_what_it_deleted_by_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"group 0 puts b'a/1' after deleting the prefix b'a/'"):
        split_groups([[DeleteRange(b"a/"), Put(b"a/1", b"")]])


def test_two_groups_of_which_the_second_puts_what_the_first_deleted_become_two_txns() -> None:
    parts = split_groups([[DeleteRange(b"a/")], [Put(b"a/1", b"")]])
    assert [part.ops for part in parts] == [(DeleteRange(b"a/"),), (Put(b"a/1", b""),)]


def test_no_groups_make_no_parts() -> None:
    assert split_groups([]) == [] and split_groups([[], []]) == []


@given(st.binary(min_size=1, max_size=4), st.binary(max_size=6))
def test_the_end_of_a_prefix_is_above_exactly_its_keys(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    inside = prefix <= key and (end is None or key < end)
    assert inside == key.startswith(prefix)
