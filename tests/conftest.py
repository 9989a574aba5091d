"""What a machine lacks is a reason to skip, except where everything is required (MT5FARM_REQUIRE_ALL=1, as in CI)."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["tests.canaries.plugin", "tests.postgres", "tests.deployments"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if report.skipped and os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped although MT5FARM_REQUIRE_ALL=1: {report.longrepr}"
    return report
