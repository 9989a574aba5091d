"""`make statistics-test`: the figures of generated histories beside a naive calculation of the same definitions."""

from __future__ import annotations

import argparse
import sys
import time

from tests.statistics.compare import differences
from tests.statistics.histories import history

GOAL = 1e-9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=300, help="most steps in one history")
    options = parser.parse_args()
    worst: dict[str, tuple[float, int]] = {}
    began, deals = time.monotonic(), 0
    for seed in range(options.histories):
        found = history(seed, options.steps)
        deals += len(found)
        for name, gap in differences(found):
            if name not in worst or gap > worst[name][0]:
                worst[name] = gap, seed
    for name, (gap, seed) in sorted(worst.items(), key=lambda each: -each[1][0]):
        print(f"{name:22} {gap:9.2e}  seed {seed}")
    highest = max(gap for gap, _ in worst.values())
    print(f"{options.histories} histories, {deals} deals, {len(worst)} figures, {time.monotonic() - began:.0f} s")
    print(f"largest relative difference {highest:.2e}, goal {GOAL:.0e}: {'met' if highest <= GOAL else 'MISSED'}")
    return int(highest > GOAL)


if __name__ == "__main__":
    sys.exit(main())
