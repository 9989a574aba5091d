"""A year of minutes for 20 symbols and a week of ticks replay in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
LIMIT_MB = 400


def test_long_replays_stay_within_400_mb() -> None:
    if not (ROOT.parent / "shared" / "market_data").is_dir():
        if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
            pytest.fail("the shared market data are needed")
        pytest.skip("the shared market data are not here")
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "replay_memory.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    results = json.loads(done.stdout)
    assert len(results) == 2
    for name, result in results.items():
        assert result["peak_mb"] <= LIMIT_MB, name
        assert result["ticks"] > 2_000_000, name
    assert done.returncode == 0
