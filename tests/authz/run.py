"""`make authz`: the matrix walked on SQLite and on Postgres, everybody against everybody's things."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import structlog

from control_plane.identity.state import Role
from tests.authz.keys import KeyWalk
from tests.authz.matrix import read
from tests.authz.routes import all_calls
from tests.authz.stage import TENANTS, Stage, raised
from tests.authz.walk import Report, Walk
from tests.postgres import APPLICATION, running_postgres


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total = Report()
    with tempfile.TemporaryDirectory(prefix="m5") as folder:
        with raised(Path(folder) / "sqlite") as stage:
            total += _walked("SQLite", stage)
        with running_postgres() as server:
            url = server.url(APPLICATION, server.migrated_database())
            with raised(Path(folder) / "postgres", database_url=url) as stage:
                total += _walked("Postgres", stage)
    for wrong in (*total.wrong_allows, *total.wrong_refusals)[:50]:
        print(wrong)
    print(
        f"routes {total.routes}, roles {len(Role)} in {len(TENANTS)} tenants and nobody, checks {total.checks}, "
        f"wrong allows {len(total.wrong_allows)}, wrong refusals {len(total.wrong_refusals)}"
    )
    return 1 if total.wrong_allows or total.wrong_refusals else 0


def _walked(name: str, stage: Stage) -> Report:
    lines = read()
    known, real = {line.call for line in lines}, all_calls(stage.world.farm)
    report = Walk(stage, lines, everybody=True).run()
    report += KeyWalk(stage, lines).run()
    report.wrong_allows += [f"{call}: not in the matrix" for call in sorted(real - known)]
    print(f"{name}: {report.checks} checks, {len(report.wrong_allows)} wrong allows")
    return report


if __name__ == "__main__":
    sys.exit(main())
