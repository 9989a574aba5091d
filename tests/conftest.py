"""What a machine lacks is a reason to skip, except where everything is required (MT5FARM_REQUIRE_ALL=1, as in CI)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.canaries.plugin", "tests.postgres", "tests.deployments"]


_TOGETHER = {
    "conformance/native": "wine",
    "conformance/windows": "wine",
    "conformance/runtimes": "docker",
    "browser": "docker",
}
"""Folders whose tests share a Wine prefix, or the containers of a Docker daemon: they run one after another. A browser
gives up what it loads when a container's network comes or goes.
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, those of one file stay together, and so do those of some folders."""
    here = Path(__file__).parent
    for item in items:
        file = item.path.relative_to(here).as_posix()
        group = next((name for folder, name in _TOGETHER.items() if file.startswith(folder)), file)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if report.skipped and os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped although MT5FARM_REQUIRE_ALL=1: {report.longrepr}"
    return report
