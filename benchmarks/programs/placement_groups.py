"""Placement groups created and removed, many at a time, as upstream's own microbenchmark does."""

from __future__ import annotations

from programs.timing import QUICK, begin, rate

COUNT = 100 if QUICK else 400


def main() -> list[float]:
    """Groups of one bundle created, waited for and removed, /s."""
    ray = begin(resources={"custom": 100})
    from ray.util.placement_group import placement_group, remove_placement_group

    def come_and_go() -> None:
        groups = [placement_group([{"custom": 0.001}]) for _ in range(COUNT)]
        for group in groups:
            group.wait(timeout_seconds=30)
        for group in groups:
            remove_placement_group(group)
        # Requests of one process are answered in order: the last removal is done when this one is.
        placement_group([{"custom": 0.001}]).wait(timeout_seconds=30)

    come_and_go()
    per_second = rate(COUNT, come_and_go)
    ray.shutdown()
    return [per_second]
