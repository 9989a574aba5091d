"""Bots of code that users have brought, run by the real agent in real sandboxes beside a real terminal and bridge."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mt5_bridge.sandbox.availability import why_not
from mt5_bridge.sandbox.package import digest, read_upload
from mt5_bridge.simulated.admin import BrokerAdmin
from node_agent.protocol.messages import BotLogBody, BotRule, CodeRef, DesiredBot, Guard, PaperFill
from tests.broker_process import running_broker
from tests.integration.node_agent.agent_node import AgentNode, bot_id
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
PASSWORD = "demo-password-1"
BUYS_ONCE = """
from mt5_bridge.strategies.base import Parameter, Side, Strategy

class Once(Strategy):
    name, title, help = "once", "Once", "Buys at the first bar."
    parameters = (Parameter("bars", "Bars", "Bars to wait for.", int, 2, 1, 10),)
    bars_needed = 2

    def on_bar(self, context, bars):
        context.target(Side.LONG)
"""
SCRIPT = """
import time
import MetaTrader5 as mt5

assert mt5.initialize()
tick = mt5.symbol_info_tick("EURUSD")
request = {"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": mt5.ORDER_TYPE_BUY,
           "price": tick.ask, "deviation": 50, "magic": 5, "type_filling": mt5.ORDER_FILLING_FOK}
print("sent", mt5.order_send(request).retcode)
time.sleep(600)
"""
FLOOD = """
import MetaTrader5 as mt5

assert mt5.initialize()
codes = {}
for number in range(400):
    tick = mt5.symbol_info_tick("EURUSD")
    result = mt5.order_send({"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.01, "type": 0,
                             "price": tick.ask, "deviation": 50, "type_filling": mt5.ORDER_FILLING_FOK})
    codes[result.retcode] = codes.get(result.retcode, 0) + 1
print("codes", codes)
"""
PAUSED = """
import time
import MetaTrader5 as mt5

assert mt5.initialize()
tick = mt5.symbol_info_tick("EURUSD")
buy = {"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": mt5.ORDER_TYPE_BUY,
       "price": tick.ask, "deviation": 500, "type_filling": mt5.ORDER_FILLING_FOK}
print("sent", mt5.order_send(buy).retcode)
while mt5.order_send(dict(buy, volume=0.01)).retcode == mt5.TRADE_RETCODE_DONE:
    time.sleep(0.6)
print("paused", mt5.last_error())
for mine in mt5.positions_get():
    print("closed", mt5.order_send(dict(buy, type=1, position=mine.ticket, volume=mine.volume)).retcode)
print("left", sorted({each.magic for each in mt5.positions_get()}))
time.sleep(600)
"""
LOOKS_AROUND = "import MetaTrader5, os\nprint('sees', sorted(os.listdir('/run/bot')), os.path.exists({!r}))\n"
BAD = {
    "memory": ("import MetaTrader5\nx = []\nwhile True: x.append(b'x' * 5_000_000)", "memory"),
    "raises": ("import MetaTrader5\n\n1 / 0", "main.py, line 3: ZeroDivisionError"),
    "socket": ("import MetaTrader5, socket\nsocket.create_connection(('1.1.1.1', 53))", "Operation not permitted"),
    "fork": ("import MetaTrader5, os\nwhile True: os.fork()", "Resource temporarily unavailable|was ended"),
    "prints": ("import MetaTrader5\nwhile True: print('y' * 500)", "lines were left out"),
    "loops": ("import MetaTrader5\nprint('begins')\nwhile True: pass", "begins"),
}
"""Sources, and a pattern of what their owner is told: who forks may use up its memory first."""


@pytest.fixture(scope="module")
def broker() -> Iterator[tuple[str, BrokerAdmin]]:
    with running_broker(speed=600) as started:
        yield started


class Stage:
    """One node with one terminal, whose bots are brought code."""

    def __init__(self, folder: Path, broker: tuple[str, BrokerAdmin], module: str = "node_agent.cli") -> None:
        self.plane = ControlPlaneStandIn(folder)
        self.node = AgentNode(self.plane, module=module)
        self.address, self.admin = broker
        self.login = self.admin.create_account(password=PASSWORD)

    def bot(self, number: int, source: str, kind: str = "script", **change: Any) -> DesiredBot:
        package = read_upload("main.py", source.encode())
        packed = package.packed()
        self.plane.code[digest(packed)] = packed
        code = CodeRef(sha256=digest(packed), size=len(packed), kind=kind, entry=package.entry)
        values: dict[str, Any] = {"magic": 900 + number, "timeframe": "M1", "volume": 0.1, "parameters": {}}
        values |= {"bot_id": bot_id(number), "revision": 1, "strategy": "custom", "symbol": "EURUSD", "code": code}
        return DesiredBot(**(values | change))

    def want(self, *bots: DesiredBot, paused: int | None = None) -> None:
        rules = {
            each.bot_id: BotRule(magic=each.magic, opens=each.magic != 900 + (paused or 0), sends=not each.paper)
            for each in bots
        }
        self.plane.want(
            self.node.desired(
                1,
                PASSWORD,
                login=self.login,
                server="MT5Farm-Demo",
                server_address=self.address,
                bots=list(bots),
                guard=Guard(bots=rules),
            )
        )

    def log(self, number: int) -> list[str]:
        bodies = (event.body for event in self.plane.seen.events.values())
        mine = [each for each in bodies if isinstance(each, BotLogBody) and each.bot_id == bot_id(number)]
        return [each.text for each in mine]

    def deals(self) -> list[Any]:
        return [deal for deal in self.admin.deals(self.login) if deal.symbol]

    def reason(self, number: int) -> str:
        seen = self.node.observed(1)
        return next((bot.reason for bot in seen.bots if bot.bot_id == bot_id(number)), "") if seen else ""

    def fills(self, number: int) -> list[PaperFill]:
        bodies = (event.body for event in self.plane.seen.events.values())
        mine = [each for each in bodies if isinstance(each, BotLogBody) and each.bot_id == bot_id(number)]
        return [each.fill for each in mine if each.fill is not None]

    def told(self, number: int, text: str, seconds: float = 25.0) -> None:
        """`text` is a pattern."""
        wait_until(
            lambda: any(re.search(text, line) for line in self.log(number)), seconds, f"{text!r} in {self.log(number)}"
        )


@pytest.fixture
def stage(tmp_path: Path, broker: tuple[str, BrokerAdmin]) -> Iterator[Stage]:
    made = Stage(tmp_path, broker)
    try:
        yield made
    finally:
        made.node.clean_up()
        made.plane.close()


def test_brought_code_trades_is_told_apart_paused_and_stopped(stage: Stage) -> None:
    looks = LOOKS_AROUND.format(str(stage.node.layout.terminals))
    strategy, script, paused = stage.bot(1, BUYS_ONCE, "strategy"), stage.bot(2, SCRIPT), stage.bot(5, PAUSED)
    stage.want(strategy, script, stage.bot(3, SCRIPT, paper=True), stage.bot(4, looks), paused)
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    stage.told(2, "sent 10009")
    stage.told(3, "paper: buy 0.1 EURUSD")
    assert [(fill.entry, fill.side, fill.volume) for fill in stage.fills(3)] == [("in", "buy", 0.1)]
    stage.told(4, re.escape("sees ['bot.json', 'bridge', 'token'] False"))
    stage.told(5, "sent 10009")
    # The script says that its magic number is 5; the bridge knows better.
    wait_until(lambda: {deal.magic for deal in stage.deals()} == {901, 902, 905}, 30, "all three have traded")
    # One that is paused, or finishes, runs on, opens nothing, and may close what it holds.
    pid = stage.node.wait_bot(1, 5, "running")
    stage.want(strategy, script, paused, paused=5)
    stage.told(5, "paused")
    stage.told(5, re.escape("left [901, 902]"))
    assert stage.node.wait_bot(1, 5, "running") == pid
    volumes = [deal.volume * (1 - 2 * deal.entry) for deal in stage.deals() if deal.magic == 905]
    assert sum(volumes) == pytest.approx(0.0)
    # One that is stopped leaves nothing behind.
    seen = stage.node.processes()[("bot", bot_id(2))]
    inside = psutil.Process(seen).children(recursive=True)
    began = time.monotonic()
    stage.want(strategy)
    wait_until(lambda: ("bot", bot_id(2)) not in stage.node.processes(), 10, "the script is stopped")
    assert time.monotonic() - began < 4.0
    wait_until(lambda: not any(each.is_running() for each in inside), 2, "nothing of it is left")


def test_bad_bots_are_contained_and_their_owner_told_while_their_neighbour_trades(stage: Stage) -> None:
    """All at once: what eats memory, forks, floods log or broker, or never rests takes nothing from the others."""
    bad = [stage.bot(at, source) for at, (source, _) in enumerate(BAD.values(), 1)]
    stage.want(*bad, stage.bot(8, FLOOD), stage.bot(9, SCRIPT))
    began = time.monotonic()
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    for at, (_, words) in enumerate(BAD.values(), 1):
        stage.told(at, words, 60.0)
    stage.told(9, "sent 10009")
    stage.told(8, "codes", 60.0)
    minutes = int((time.monotonic() - began) // 60) + 1
    codes = dict(_pairs(next(line for line in stage.log(8) if line.startswith("codes"))))
    assert sum(codes.values()) == 400
    assert codes["10009"] <= 120 * minutes
    assert len([deal for deal in stage.deals() if deal.magic == 908]) == codes["10009"]
    assert stage.node.observed(1).phase == "ready"  # type: ignore[union-attr]
    stage.want()
    wait_until(lambda: not [each for each in stage.node.processes() if each[0] == "bot"], 8, "all are stopped")


def _pairs(line: str) -> Iterator[tuple[str, int]]:
    for pair in line.partition("{")[2].rstrip("}").split(","):
        code, _, count = pair.partition(":")
        yield code.strip(), int(count)
