"""1,000 random fault schedules, and what they come to; `make sim` runs 10,000."""

import pytest

from tests.sim.placement.schedule import Schedule

SEEDS = 1_000
SHARES = 10


@pytest.mark.parametrize("share", range(SHARES))
def test_groups_survive_random_faults(share: int) -> None:
    for seed in range(share * SEEDS // SHARES, (share + 1) * SEEDS // SHARES):
        Schedule(seed).run()


def test_a_seed_repeats_its_schedule() -> None:
    first, second = Schedule(7), Schedule(7)
    first.run()
    second.run()
    assert first.story == second.story
    assert first.world.gcs.settles == second.world.gcs.settles


def test_the_schedules_reach_what_they_are_for() -> None:
    """Without this a schedule that never creates anything would pass."""
    seen: dict[str, int] = {}
    for seed in range(40):
        schedule = Schedule(seed)
        schedule.run()
        for event, count in schedule.world.gcs.noted.items():
            seen[event] = seen.get(event, 0) + count
    for event in ("created", "rescheduled", "removed"):
        assert seen[f"placement_group_{event}"] > 0
    assert seen["bundles_lost"] > 0
