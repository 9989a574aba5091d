"""What a machine lacks is a reason to skip, except where everything is required (MT5FARM_REQUIRE_ALL=1, as in CI)."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["tests.postgres"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if report.skipped and os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped although MT5FARM_REQUIRE_ALL=1: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of the tests that run on both databases passed on each."""
    passed = [report.nodeid.partition("[")[2] for report in terminalreporter.getreports("passed")]
    counts = {name: sum(kind in each.rstrip("]").split("-") for each in passed) for name, kind in _DATABASES}
    if any(counts.values()):
        terminalreporter.write_line(f"on both databases: {', '.join(f'{n} on {name}' for name, n in counts.items())}")


_DATABASES = (("SQLite", "sqlite"), ("Postgres", "postgres"))
