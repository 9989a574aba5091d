"""One answer that says how a terminal is."""

from __future__ import annotations

from typing import Any

from mt5_bridge.pulse import Pulse
from tests.bridge_doubles import struct


class Terminal:
    """Answers as it is told, and counts the questions."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {
            "account_info": struct("AccountInfo", login=7, server="Demo", trade_allowed=True, trade_expert=True),
            "terminal_info": struct("TerminalInfo", connected=True, trade_allowed=True, build=5000),
            "symbols_get": tuple(struct("SymbolInfo", name=f"S{number}", select=number > 0) for number in range(20)),
            "positions_total": 2,
            "orders_total": 1,
            "history_deals_total": 40,
        }
        self.pulse = Pulse(lambda: self.now)

    def ask(self, function: str, *args: Any) -> Any:
        self.asked.append((function, *args))
        if function == "symbol_info_tick":
            return struct("Tick", time_msc=int(args[0][1:]))
        return self.answers[function]

    def change(self, function: str, name: str, value: Any) -> None:
        facts = self.answers[function]._asdict() | {name: value}
        self.answers[function] = struct(type(self.answers[function]).__name__, **facts)

    def take(self) -> dict[str, Any]:
        return self.pulse.take(self.ask, 500)

    def count(self, function: str) -> int:
        return sum(call[0] == function for call in self.asked)


def test_says_everything_at_once() -> None:
    terminal = Terminal()
    pulse = terminal.take()
    assert (pulse["account"]["login"], pulse["account"]["server"]) == (7, "Demo")
    assert (pulse["positions"], pulse["orders"], pulse["deals"], pulse["build"]) == (2, 1, 40, 5000)
    assert pulse["connected"] is True
    assert pulse["trade_allowed"] is True
    assert pulse["newest_msc"] == 8, "of the first few symbols of Market Watch"
    assert ("history_deals_total", 500, 2**31 - 1) in terminal.asked


def test_market_watch_is_read_once_a_minute() -> None:
    terminal = Terminal()
    for _ in range(3):
        terminal.take()
    assert terminal.count("symbols_get") == 1
    terminal.now += 61
    terminal.take()
    assert terminal.count("symbols_get") == 2


def test_trading_is_allowed_only_by_all_three_switches() -> None:
    for function, name in (
        ("account_info", "trade_allowed"),
        ("account_info", "trade_expert"),
        ("terminal_info", "trade_allowed"),
    ):
        terminal = Terminal()
        terminal.change(function, name, False)
        assert terminal.take()["trade_allowed"] is False, name


def test_before_the_broker_has_answered_nothing_more_is_asked() -> None:
    terminal = Terminal()
    terminal.change("account_info", "login", 0)
    assert terminal.take() == {"terminal": True, "account": None}
    assert terminal.count("positions_total") == 0
    terminal.answers["terminal_info"] = None
    assert terminal.take() == {"terminal": False, "account": None}
