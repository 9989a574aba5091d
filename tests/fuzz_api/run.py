"""`make fuzz-api CASES=20000`: half of the cases against a farm on SQLite, half against one on Postgres."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import structlog

from tests.authz.stage import Stage, raised
from tests.fuzz_api.drive import Fuzz, Report
from tests.postgres import APPLICATION, running_postgres

_TOLD_EVERY = 1_000


def main() -> int:
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total, started = Report(arguments.seed), time.monotonic()
    databases = [arguments.on] if arguments.on else list(_FARMS)
    print(f"seed {arguments.seed}", flush=True)
    for name in databases:
        with tempfile.TemporaryDirectory(prefix="m5") as folder, _FARMS[name](Path(folder) / "farm") as stage:
            total += Fuzz(stage, arguments.seed, _Progress(name)).run(arguments.cases // len(databases))
    print_report(total, time.monotonic() - started)
    return 1 if total.findings else 0


@contextmanager
def _on_postgres(data: Path) -> Iterator[Stage]:
    with running_postgres() as server:
        url = server.url(APPLICATION, server.migrated_database())
        with raised(data, database_url=url) as stage:
            yield stage


_FARMS: Mapping[str, Callable[[Path], AbstractContextManager[Stage]]] = {"sqlite": raised, "postgres": _on_postgres}


class _Progress:
    """Says how far a long run is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, report: Report) -> None:
        if report.total % _TOLD_EVERY == 0:
            print(f"{self._name}: {report.total} cases, broken promises {len(report.findings)}", flush=True)


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
    parser.add_argument("--on", choices=list(_FARMS), help="one database instead of both")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
