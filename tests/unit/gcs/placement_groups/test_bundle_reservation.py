"""The two-phase commit of one group, as an object."""

import pytest
from manta_common.ids import NodeId
from manta_gcs.placement_groups.bundle_reservation import BundleReservation, Held

A, B = NodeId(b"a" * 28), NodeId(b"b" * 28)


def test_all_are_prepared_then_sealed_then_committed() -> None:
    reservation = BundleReservation(2)
    assert reservation.begin(5, {0: A, 1: B}) == [Held(0, A, 5), Held(1, B, 5)]
    assert not reservation.prepared(Held(0, A, 5))
    assert reservation.prepared(Held(1, B, 5))
    assert reservation.seal() == [Held(0, A, 5), Held(1, B, 5)]
    assert reservation.committed(Held(0, A, 5)) and not reservation.whole
    assert [held.index for held in reservation.usable()] == [0]
    assert reservation.committed(Held(1, B, 5)) and reservation.whole
    assert not reservation.committed(Held(1, B, 5))  # a repeat changes nothing


def test_a_repeated_answer_does_not_stand_for_a_missing_one() -> None:
    reservation = BundleReservation(2)
    reservation.begin(5, {0: A, 1: B})
    assert not reservation.prepared(Held(0, A, 5))
    assert not reservation.prepared(Held(0, A, 5))


def test_answers_to_an_attempt_given_up_are_nobodys() -> None:
    reservation = BundleReservation(1)
    reservation.begin(5, {0: A})
    assert reservation.abandon() == [Held(0, A, 5)]
    reservation.begin(6, {0: A})
    assert not reservation.holds(Held(0, A, 5)) and not reservation.prepared(Held(0, A, 5))
    assert reservation.holds(Held(0, A, 6)) and not reservation.holds(Held(0, B, 6))


def test_only_what_a_lost_node_held_is_missing() -> None:
    placed = [Held(0, A, 3), Held(1, B, 3)]
    reservation = BundleReservation(2, placed, committed=True)
    assert reservation.on_node(A) == [Held(0, A, 3)]
    reservation.lose(Held(0, A, 3))
    assert reservation.missing == [0] and [held.node_id for held in reservation.usable()] == [B]
    reservation.begin(9, {0: B})
    assert reservation.everything() == [Held(1, B, 3), Held(0, B, 9)]
    assert reservation.nodes() == {B} and reservation.uses(B) and not reservation.uses(A)


def test_what_a_record_says_is_to_be_committed_again() -> None:
    reservation = BundleReservation(1, [Held(0, A, 3)])
    assert reservation.uncommitted == {0} and not reservation.whole


def test_an_attempt_cannot_begin_beside_another_or_for_what_is_placed() -> None:
    reservation = BundleReservation(2, [Held(0, A, 3)])
    with pytest.raises(ValueError, match="taken"):
        reservation.begin(4, {0: B})
    reservation.begin(4, {1: B})
    with pytest.raises(ValueError, match="taken"):
        reservation.begin(5, {1: B})
