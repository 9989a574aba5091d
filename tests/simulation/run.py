"""`python -m tests.simulation.run`: many seeds on several processes, or one with its trace."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.simulation.environment import simulated_environment
from tests.simulation.world import Result, play

_CHUNK = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, help="play this one alone and print its trace")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        return _replay(options.seed)
    started = time.monotonic()
    faults: Counter[str] = Counter()
    events = played = 0
    broken: list[Result] = []
    for result in play_all(list(range(options.first, options.first + options.seeds)), options.processes):
        played += 1
        events += result.events
        faults.update(result.faults)
        print(_line(result), flush=True)
        if result.broken:
            broken.append(result)
    print(f"{played} seeds, {events} events, {time.monotonic() - started:.0f} s")
    for kind, count in sorted(faults.items()):
        print(f"  {count:8d}  {kind}")
    print(f"{len(broken)} seeds broke an invariant" + (": replay with SEED=<n>" if broken else ""))
    return 1 if broken else 0


def _line(result: Result) -> str:
    """Two runs of a seed have done the same when the second column is the same."""
    return f"seed {result.seed} {result.fingerprint} {result.broken[0] if result.broken else 'ok'}"


def play_quietly(seeds: list[int]) -> list[Result]:
    """Results without their traces, which are long."""
    with simulated_environment():
        results = [play(seed) for seed in seeds]
    for result in results:
        result.trace.clear()
    return results


def play_all(seeds: list[int], processes: int) -> Iterator[Result]:
    """As they come, in no order; here when there is one process."""
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    if processes == 1:
        for chunk in chunks:
            yield from play_quietly(chunk)
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for results in pool.imap_unordered(play_quietly, chunks):
            yield from results


def _replay(seed: int) -> int:
    with simulated_environment():
        result = play(seed)
    print("\n".join(result.trace))
    print(_line(result))
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
