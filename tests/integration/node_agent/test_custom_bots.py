"""Bots of code that users have brought, run by the real agent in real sandboxes beside a real terminal and bridge."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mt5_bridge.sandbox.availability import why_not
from mt5_bridge.sandbox.package import digest, read_upload
from mt5_bridge.simulated.admin import BrokerAdmin
from node_agent.protocol.messages import BotLogBody, BotRule, CodeRef, DesiredBot, Guard
from tests.broker_process import running_broker
from tests.integration.node_agent.agent_node import AgentNode, bot_id, terminal_id
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
PASSWORD = "demo-password-1"
BUYS_ONCE = """
from mt5_bridge.strategies.base import Parameter, Side, Strategy, Target

class Once(Strategy):
    name, title, help = "once", "Once", "Buys at the first bar."
    parameters = (Parameter("bars", "Bars", "Bars to wait for.", int, 2, 1, 10),)
    bars_needed = 2

    def on_bar(self, bars, held):
        return Target(Side.LONG)
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
for number in range(10000):
    tick = mt5.symbol_info_tick("EURUSD")
    result = mt5.order_send({"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.01, "type": 0,
                             "price": tick.ask, "deviation": 50, "type_filling": mt5.ORDER_FILLING_FOK})
    codes[result.retcode] = codes.get(result.retcode, 0) + 1
print("codes", codes)
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[tuple[str, BrokerAdmin]]:
    with running_broker(speed=600) as started:
        yield started


class Stage:
    """One node with one terminal, whose bots are brought code."""

    def __init__(self, folder: Path, broker: tuple[str, BrokerAdmin]) -> None:
        self.plane = ControlPlaneStandIn(folder)
        self.node = AgentNode(self.plane, module="node_agent.cli")
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

    def want(self, *bots: DesiredBot, opens: bool = True) -> None:
        rules = {each.bot_id: BotRule(magic=each.magic, opens=opens, sends=not each.paper) for each in bots}
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

    def told(self, number: int, text: str, seconds: float = 25.0) -> None:
        wait_until(lambda: any(text in line for line in self.log(number)), seconds, f"{text!r} in {self.log(number)}")


@pytest.fixture
def stage(tmp_path: Path, broker: tuple[str, BrokerAdmin]) -> Iterator[Stage]:
    made = Stage(tmp_path, broker)
    try:
        yield made
    finally:
        made.node.clean_up()
        made.plane.close()


def test_a_brought_strategy_and_an_unmodified_script_trade_and_are_told_apart(stage: Stage) -> None:
    stage.want(stage.bot(1, BUYS_ONCE, "strategy"), stage.bot(2, SCRIPT), stage.bot(3, SCRIPT, paper=True))
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    stage.told(2, "sent 10009")
    stage.told(3, "paper: buy 0.1 EURUSD")
    wait_until(lambda: len(stage.deals()) >= 2, 30, "both have traded")
    # The script says that its magic number is 5; the bridge knows better.
    assert {deal.magic for deal in stage.deals()} == {901, 902}
    seen = stage.node.processes()[("bot", bot_id(2))]
    inside = psutil.Process(seen).children(recursive=True)
    began = time.monotonic()
    stage.want(stage.bot(1, BUYS_ONCE, "strategy"))
    wait_until(lambda: ("bot", bot_id(2)) not in stage.node.processes(), 10, "the script is stopped")
    assert time.monotonic() - began < 4.0
    wait_until(lambda: not any(each.is_running() for each in inside), 2, "nothing of it is left")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import MetaTrader5\nx = []\nwhile True: x.append(b'x' * 5_000_000)", "memory"),
        ("import MetaTrader5\n\n1 / 0", "main.py, line 3: ZeroDivisionError"),
        ("import MetaTrader5, socket\nsocket.create_connection(('1.1.1.1', 53))", "Operation not permitted"),
        ("import MetaTrader5, os\nwhile True: os.fork()", "Resource temporarily unavailable"),
        ("import MetaTrader5\nwhile True: print('y' * 500)", "lines were left out"),
    ],
    ids=["memory", "raises", "socket", "fork", "prints"],
)
def test_a_bad_bot_is_contained_and_its_owner_told(stage: Stage, source: str, words: str) -> None:
    stage.want(stage.bot(1, source), stage.bot(2, SCRIPT))
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    stage.told(1, words, 60.0)
    # Its neighbour trades meanwhile.
    stage.told(2, "sent 10009")
    assert stage.node.observed(1).phase == "ready"  # type: ignore[union-attr]
    stage.want()
    wait_until(lambda: not [each for each in stage.node.processes() if each[0] == "bot"], 8, "both are stopped")


def test_a_flood_of_orders_ends_at_the_bridge(stage: Stage) -> None:
    stage.want(stage.bot(1, FLOOD))
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    stage.told(1, "codes", 90.0)
    line = next(line for line in stage.log(1) if line.startswith("codes"))
    codes = dict(_pairs(line))
    assert codes["10009"] <= 360
    assert codes["10024"] >= 9000
    assert len(stage.deals()) == codes["10009"]


def _pairs(line: str) -> Iterator[tuple[str, int]]:
    for pair in line.partition("{")[2].rstrip("}").split(","):
        code, _, count = pair.partition(":")
        yield code.strip(), int(count)


def test_a_paused_bot_runs_on_and_opens_nothing(stage: Stage) -> None:
    source = SCRIPT.replace("time.sleep(600)", "").replace(
        "print(", "for each in range(600):\n    time.sleep(0.2)\n    print("
    )
    stage.want(stage.bot(1, source))
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    stage.told(1, "sent 10009")
    pid = stage.node.wait_bot(1, 1, "running")
    stage.want(stage.bot(1, source), opens=False)
    stage.told(1, "sent 10027")
    assert stage.node.wait_bot(1, 1, "running") == pid


def test_terminal_of_another(stage: Stage) -> None:
    """Only the socket of its own terminal is there, and it is the only one."""
    source = (
        "import MetaTrader5, os\nprint('sees', sorted(os.listdir('/run/bot')), os.path.exists("
        f"{str(stage.node.layout.terminals)!r}), {terminal_id(1)!r})\n"
    )
    stage.want(stage.bot(1, source))
    stage.node.start()
    stage.node.wait_phase(1, "ready", 30)
    stage.told(1, "sees ['bot.json', 'bridge', 'token'] False")
