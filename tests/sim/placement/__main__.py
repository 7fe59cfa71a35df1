"""Replay or count schedules: python -m tests.sim.placement SEED, or --count N [--from SEED]."""

import argparse
import time

from tests.sim.placement.schedule import STEPS, Schedule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        schedule = Schedule(arguments.seed)
        schedule.run(arguments.steps)
        print(f"seed {arguments.seed}: {len(schedule.story)} steps, all invariants hold")
        return
    began = time.monotonic()
    steps = 0
    for seed in range(arguments.first, arguments.first + arguments.count):
        schedule = Schedule(seed)
        schedule.run(arguments.steps)
        steps += len(schedule.story)
    seconds = time.monotonic() - began
    print(f"{arguments.count} schedules of placement groups, {steps} steps, {seconds:.1f} s: all invariants hold")


main()
