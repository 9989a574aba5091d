"""Bots of code that users have brought, run by the real agent as on a Windows node; Windows itself is a double."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.broker_process import running_broker
from tests.integration.node_agent.agent_node import bot_id
from tests.integration.node_agent.control_plane_stand_in import wait_until
from tests.integration.node_agent.test_custom_bots import BUYS_ONCE, SCRIPT, Stage

RAISES = "import MetaTrader5\n\n1 / 0"
TRIES = "import MetaTrader5, os\nprint('has', sorted(os.environ))\nopen('left.txt', 'w').write('x')\n"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with running_broker(speed=600) as broker:
        made = Stage(tmp_path, broker, "tests.conformance.windows.agent_with_rooms")
        try:
            yield made
        finally:
            made.node.clean_up()
            made.plane.close()


def test_brought_code_trades_is_found_again_and_stopped(stage: Stage) -> None:
    strategy, script = stage.bot(1, BUYS_ONCE, "strategy"), stage.bot(2, SCRIPT)
    stage.want(strategy, script, stage.bot(3, SCRIPT, paper=True), stage.bot(4, RAISES), stage.bot(5, TRIES))
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    stage.told(2, "sent 10009")
    stage.told(3, "paper: buy 0.1 EURUSD")
    stage.told(4, "main.py, line 3: ZeroDivisionError")
    stage.told(5, "has .*'SystemRoot'")
    wait_until(lambda: {deal.magic for deal in stage.deals()} == {901, 902}, 30, "both have traded")
    rooms = stage.node.layout.terminals.parent / "rooms"
    assert {path.relative_to(rooms).parts[1] for path in rooms.glob("*/*/box/left.txt")} == {bot_id(5)}
    # An agent that was killed finds what runs, and its successor ends it.
    before = stage.node.processes()[("bot", bot_id(2))]
    stage.node.end()
    stage.node.start()
    assert stage.node.wait_bot(1, 2, "running") == before
    inside = psutil.Process(before).children(recursive=True)
    began = time.monotonic()
    stage.want(strategy)
    wait_until(lambda: ("bot", bot_id(2)) not in stage.node.processes(), 10, "the script is stopped")
    assert time.monotonic() - began < 4.0
    assert inside
    wait_until(lambda: not any(each.is_running() for each in inside), 2, "nothing of it is left")
    assert not re.search("local-secret|Traceback", stage.node.log.read_text())
    stage.plane.drop("ter_0000000000000001")
    wait_until(lambda: not any(rooms.iterdir()), 20, "its room went with the terminal")
