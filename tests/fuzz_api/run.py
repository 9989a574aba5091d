"""`make fuzz-api CASES=20000`: half of the cases against a farm on SQLite, half against one on Postgres."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.authz.stage import raised
from tests.fuzz_api.drive import Fuzz, Report
from tests.postgres import APPLICATION, running_postgres


def main() -> int:
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total, started = Report(arguments.seed), time.monotonic()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="m5") as folder:
        with raised(Path(folder) / "sqlite") as stage:
            total += Fuzz(stage, arguments.seed).run(arguments.cases // 2)
        with running_postgres() as server:
            url = server.url(APPLICATION, server.migrated_database())
            with raised(Path(folder) / "postgres", database_url=url) as stage:
                total += Fuzz(stage, arguments.seed + 1).run(arguments.cases // 2)
    print_report(total, time.monotonic() - started)
    return 1 if total.findings else 0


def print_report(report: Report, seconds: float) -> None:
    for finding in report.findings.values():
        print(finding)
    print(f"cases by asker: {', '.join(f'{name} {count}' for name, count in report.cases.items())}")
    print(f"answers by status: {', '.join(f'{status} {count}' for status, count in sorted(report.statuses.items()))}")
    print(
        f"seed {report.seed}, routes {len(report.calls)}, cases {report.total}, "
        f"broken promises {len(report.findings)}, {seconds:.0f} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
