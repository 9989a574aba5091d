"""The bench of the bridge still fits the bridge: its small calls, each way, as few as it takes."""

from __future__ import annotations

import subprocess
import sys


def test_the_bench_runs_and_judges_every_small_call() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bridge", "--small", "--no-others", "--seconds", "0.001"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for operation in ("symbol_info_tick", "account_info", "positions_get", "order_send"):
        assert operation in ran.stdout
    assert "goals reached" in ran.stdout
