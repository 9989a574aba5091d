"""The live side in one process: the bot's own code on the simulated broker itself, without links and processes between.

Cheap enough to play every strategy in the test suite; `stage.live` has all that lies in between.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt5_bridge.simulated.broker import Broker
from mt5_bridge.simulated.calls import Calls
from mt5_bridge.simulated.market.replay import replay_market
from mt5_bridge.simulated.store import Store
from mt5_bridge.strategies.bot_files import BotReport, load_bot_config
from mt5_bridge.strategies.registry import create
from mt5_bridge.strategies.runner import Bot
from tests.live_equals_backtest.stage import DEPOSIT, SERVER, SYMBOL, Deals, Scene, bot_config, deals_of, write_ticks


class _Terminal:
    """As much of a bridge's client as a bot asks for."""

    def __init__(self, broker: Broker, login: int) -> None:
        self._broker = broker
        self._calls = Calls(broker)
        self._login = login
        self._known: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> _Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def __getattr__(self, function: str) -> Any:
        return lambda *args, **kwargs: self._calls.call(self._login, function, args, kwargs, {SYMBOL})

    def last_error(self) -> tuple[int, str]:
        return 1, "Success"

    def symbol_select(self, *_: object) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        return {"connected": True, "unsettled": 0}

    def outcome(self, order_id: str) -> dict[str, Any] | None:
        return self._known.get(order_id)

    def give_up(self, order_id: str) -> dict[str, Any]:
        return self._known.get(order_id, {"state": "not_executed"})

    def send_once(self, order_id: str, request: Mapping[str, Any]) -> Any:
        assert order_id not in self._known, "a bot sends an order once"
        result = self._broker.send(self._login, "inside", len(self._known), 1, request)
        self._known[order_id] = {"state": "done" if result.retcode == 10009 else "refused"}
        return result


def live_inside(scene: Scene) -> Deals:
    """The deals in the broker's books after a bot has been through all moments."""
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as name:
        folder = Path(name)
        (folder / "history").mkdir()
        (folder / "data").mkdir()
        write_ticks(folder / "history", scene.ticks)
        (folder / "bot.json").write_text(json.dumps(bot_config(scene, folder)))
        config = load_bot_config(folder / "bot.json")
        store = Store(folder / "data" / "books.sqlite")
        market = replay_market(folder / "history", [SYMBOL], None, folder / "data")
        broker = Broker(market, store, server=SERVER, speed=1.0, wall=0.0, paused=True)
        login = broker.create_account(0, "inside-Secret-1", DEPOSIT, "USD", 100, "")
        stop = threading.Event()

        def step() -> None:
            if broker.step(0.0, ticks=1) >= scene.until:
                stop.set()

        terminal: Any = _Terminal(broker, login)
        strategy = create(scene.strategy, scene.parameters)
        Bot(config, strategy, BotReport(config), lambda: terminal, stop, look_again=step).run()
        return deals_of([deal for deal in broker.book.accounts[login].deals if deal.type in (0, 1)])
