"""Pause, step and speed of a running broker: through the operator's object and on the command line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from mt5_bridge.simulated.link import RemoteError


@pytest.fixture
def still(stage: Any) -> Any:
    """A broker whose market stands still."""
    stage.broker("--symbols", "EURUSD", "--paused")
    return stage


def _command(stage: Any, *words: str, code: int = 0) -> str:
    options = ["--address", stage.address, "--data", str(stage.folder / "broker")]
    done = subprocess.run(
        [sys.executable, "-m", "mt5_bridge.cli", "broker", words[0], *options, *words[1:]],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_market_is_paused_stepped_and_let_go(still: Any) -> None:
    before = still.admin.status()
    assert before["paused"] is True
    assert still.admin.step(seconds=90) == before["market_time_msc"] + 90_000
    assert still.admin.step(ticks=3) > before["market_time_msc"] + 90_000
    stopped = still.admin.status()["market_time_msc"]
    still.admin.set_speed(math.inf)
    assert still.admin.status()["market_time_msc"] == stopped
    still.admin.resume()
    still.until(lambda: still.admin.status()["market_time_msc"] > stopped + 3_600_000)
    still.admin.pause()
    with pytest.raises(RemoteError):
        still.admin.set_speed(-1)
    with pytest.raises(RemoteError):
        still.admin.step(ticks=-1)


def test_a_running_market_is_not_stepped(stage: Any) -> None:
    stage.broker("--symbols", "EURUSD")
    with pytest.raises(RemoteError, match="Pause the market"):
        stage.admin.step(ticks=1)
    assert (
        _command(stage, "step", "--ticks", "1", code=1)
        == "The broker refuses: Pause the market before it is stepped.\n"
    )


def test_the_command_line_does_the_same(still: Any) -> None:
    before = json.loads(_command(still, "status"))["market_time_msc"]
    assert json.loads(_command(still, "step", "--seconds", "60"))["market_time_msc"] == before + 60_000
    assert json.loads(_command(still, "speed", "max"))["speed"] == "max"
    assert json.loads(_command(still, "resume"))["paused"] is False
    assert json.loads(_command(still, "pause"))["paused"] is True
    assert "--speed" not in _command(still, "speed", "0", code=2)
    assert "--ticks" in _command(still, "step", code=2)
