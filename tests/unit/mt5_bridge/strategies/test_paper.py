"""A terminal on paper: what it fills, and what it tells of that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt5_bridge.contract import CONSTANTS
from mt5_bridge.strategies.paper import PaperTerminal
from mt5_bridge.structs import Tick

DEAL, DONE = CONSTANTS["TRADE_ACTION_DEAL"], CONSTANTS["TRADE_RETCODE_DONE"]


class Quoted(PaperTerminal):
    """Its prices are set by a test; a lot makes 100,000 a unit of price."""

    def __init__(self, folder: Path) -> None:
        self.paper_file = folder / "paper.json"
        self.told: list[Mapping[str, Any]] = []
        self.tell = lambda _words, fill: self.told.append(fill)
        self.bid = 1.1
        self.may_open = True

    def describe(self) -> dict[str, Any]:
        return {"may_open": self.may_open}

    def symbol_info_tick(self, *_: Any, **__: Any) -> Any:
        return Tick((1_767_600_000, self.bid, self.bid + 0.0002, 0.0, 0, 1_767_600_000_000, 6, 0.0))

    def order_calc_profit(self, *args: Any, **_: Any) -> Any:
        kind, _symbol, volume, opened, closed = args
        return round((closed - opened) * (1 if kind == 0 else -1) * volume * 100_000, 2)


def request(side: int, **values: Any) -> dict[str, Any]:
    return {"action": DEAL, "symbol": "EURUSD", "volume": 0.1, "type": side, "magic": 7, **values}


def test_each_fill_is_told_once_with_what_it_brought(tmp_path: Path) -> None:
    terminal = Quoted(tmp_path)
    for _ in range(2):
        assert terminal.send_once("one", request(0)).retcode == DONE
    (position,) = terminal.positions_get()
    terminal.bid = 1.1012
    assert terminal.send_once("two", request(1, position=position.ticket, volume=0.04)).retcode == DONE
    short = {name: [fill[name] for fill in terminal.told] for name in ("entry", "side", "volume", "price", "profit")}
    assert short == {
        "entry": ["in", "out"],
        "side": ["buy", "sell"],
        "volume": [0.1, 0.04],
        "price": [1.1002, 1.1012],
        "profit": [0.0, 4.0],
    }
    assert {fill["position"] for fill in terminal.told} == {position.ticket}


def test_a_stop_is_filled_when_somebody_looks_and_is_told(tmp_path: Path) -> None:
    terminal = Quoted(tmp_path)
    terminal.send_once("one", request(1, sl=1.102))
    terminal.bid = 1.1019
    assert terminal.positions_get() == ()
    assert [(fill["entry"], fill["side"], fill["profit"]) for fill in terminal.told] == [
        ("in", "sell", 0.0),
        ("out", "buy", -21.0),
    ]


def test_a_paused_bot_closes_on_paper_and_opens_nothing(tmp_path: Path) -> None:
    terminal = Quoted(tmp_path)
    terminal.send_once("one", request(0))
    terminal.may_open = False
    assert terminal.send_once("two", request(0)).retcode == CONSTANTS["TRADE_RETCODE_CLIENT_DISABLES_AT"]
    (position,) = terminal.positions_get()
    assert terminal.send_once("three", request(1, position=position.ticket)).retcode == DONE
    assert [fill["entry"] for fill in terminal.told] == ["in", "out"]
