"""`python -m tests.simulation.mutants.run`: does the simulation notice bugs? Each is planted until a seed breaks."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

from tests.simulation.environment import simulated_environment
from tests.simulation.mutants import control_plane, node
from tests.simulation.mutants.planting import planted
from tests.simulation.world import play

MUTANTS = (*control_plane.MUTANTS, *node.MUTANTS)
_GOAL = 0.95


def hunt(index: int, seeds: int) -> tuple[int, str]:
    """How many seeds it took (0: never noticed) and what broke."""
    mutant = MUTANTS[index]
    with simulated_environment(), planted(mutant):
        for seed in range(1, seeds + 1):
            broken = play(seed, mutant.storm).broken
            if broken:
                return seed, broken[0]
    return 0, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="seeds to try for each mutant")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--skip", type=int, default=0, help="so many of the first")
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    options = parser.parse_args()
    chosen = [index for index, mutant in enumerate(MUTANTS) if options.only in mutant.name][options.skip :]
    started, missed = time.monotonic(), []
    with multiprocessing.get_context("fork").Pool(options.processes, maxtasksperchild=4) as pool:
        jobs = [(MUTANTS[index], pool.apply_async(hunt, (index, options.seeds))) for index in chosen]
        for mutant, job in jobs:
            seeds, what = job.get()
            print(f"{'caught after ' + str(seeds) if seeds else 'MISSED':16s} {mutant.name}: {what[:100]}", flush=True)
            if not seeds:
                missed.append(mutant.name)
    caught = len(chosen) - len(missed)
    print(
        f"{caught} of {len(chosen)} planted bugs caught ({caught / len(chosen):.0%}), "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if caught >= _GOAL * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
