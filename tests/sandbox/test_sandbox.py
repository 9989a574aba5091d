"""Nothing that code in a sandbox tries gets out of it; its neighbours do not notice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mt5_bridge.sandbox.availability import why_not
from mt5_bridge.sandbox.limits import Limits
from mt5_bridge.sandbox.room import Room
from mt5_bridge.sandbox.running import Sandbox
from tests.bridge_doubles import eventually
from tests.sandbox.stage import Stage, raised

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with raised() as made:
        yield made


def test_every_attempt_is_refused_or_contained(stage: Stage) -> None:
    assert len(stage.attempts) >= 50
    outcomes = list(stage.play_all(stage.attempts))
    assert [(each.attempt.name, each.told) for each in outcomes if not each.held] == []


def test_a_loop_that_never_rests_is_slowed_down_and_still_stops_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    box = tmp_path / "box"
    box.mkdir()
    (box / "main.py").write_text("import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: pass\n")
    limits = replace(Limits(), cpu_share=0.02, cpu_burst=0.2)
    sandbox = Sandbox(Room("loop", box, ["main"], limits), lambda _: None)
    sandbox.start()
    try:
        eventually(lambda: sandbox.look() is None and sandbox.slowed)
    finally:
        began = time.monotonic()
        sandbox.stop(0.5)
    assert time.monotonic() - began < 2.0
