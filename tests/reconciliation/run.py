"""`make reconcile-test`: many accounts with planted differences between log and broker, compared twice, and counted."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from random import Random

import structlog

from tests.reconciliation.scene import Count, Scene


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--deals", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--together", type=int, default=500, help="accounts in one database at a time")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    random, count, began, comparing = Random(options.seed), Count(), time.monotonic(), 0.0
    while count.accounts < options.accounts:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(Path(folder) / "farm", options.deals)
            try:
                scene.add_accounts(min(options.together, options.accounts - count.accounts), random)
                started = time.monotonic()
                scene.compare()
                count.add(scene)
                comparing += time.monotonic() - started
            finally:
                scene.close()
        so_far = f"{count.found} of {count.planted} found, {'clean' if count.clean else 'NOT CLEAN'}"
        print(f"{count.accounts} accounts, {so_far}, {time.monotonic() - began:.0f} s", flush=True)
    for each in fields(count):
        print(f"{each.name.replace('_', ' '):14} {getattr(count, each.name):>10}")
    print(f"{comparing:.0f} s of {time.monotonic() - began:.0f} s spent comparing, two comparisons of each account")
    print(
        "every planted difference found once, no false alarm, second comparison quiet" if count.clean else "NOT CLEAN"
    )
    return int(not count.clean)


if __name__ == "__main__":
    sys.exit(main())
