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


def hunt(job: tuple[int, int]) -> tuple[str, int, str]:
    """Name of the mutant, how many seeds it took (0: never noticed) and what broke. `job`: its index, most seeds."""
    index, seeds = job
    mutant = MUTANTS[index]
    with simulated_environment(), planted(mutant):
        for seed in range(1, seeds + 1):
            broken = play(seed, mutant.storm).broken
            if broken:
                return mutant.name, seed, broken[0]
    return mutant.name, 0, ""


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
        jobs = [(index, options.seeds) for index in chosen]
        for name, seeds, what in pool.imap_unordered(hunt, jobs):
            print(f"{'caught after ' + str(seeds) if seeds else 'MISSED':16s} {name}: {what[:100]}", flush=True)
            if not seeds:
                missed.append(name)
    caught = len(chosen) - len(missed)
    print(
        f"{caught} of {len(chosen)} planted bugs caught ({caught / len(chosen):.0%}), "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if caught >= _GOAL * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
