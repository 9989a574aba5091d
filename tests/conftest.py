"""What a machine lacks is a reason to skip, except where everything is required (MT5FARM_REQUIRE_ALL=1, as in CI)."""

from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from mt5_bridge.garbage import collect_rarely

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


class _ByFileOrGroup(LoadScopeScheduling):  # type: ignore[misc]  # the package is not typed
    """Where tests run side by side, those of one file stay together, and so do those of some folders."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((group for folder, group in _TOGETHER.items() if file.startswith(f"tests/{folder}/")), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFileOrGroup(config, log)


def pytest_collection_finish() -> None:
    """As the control plane does when it serves: hundreds of imported modules need not be looked through again."""
    collect_rarely()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if report.skipped and os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped although MT5FARM_REQUIRE_ALL=1: {report.longrepr}"
    return report
