"""History out of a live terminal, whatever the edges of its ranges are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mt5_bridge.history.kinds import Kind
from mt5_bridge.history.terminal import TerminalHistory
from mt5_bridge.simulated.market.history import HistoryError
from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE

START = 1_758_499_200
DAYS = 2


class Terminal:
    """Has a tick each half second and a bar each minute for two days; `late` ms after `date_to` are still given."""

    def __init__(self, late: int) -> None:
        self.late = late
        self.fails = False
        self.ticks = np.zeros(DAYS * 172_800, TICKS_DTYPE)
        self.ticks["time_msc"] = START * 1000 + np.arange(len(self.ticks)) * 500
        self.ticks["time"] = self.ticks["time_msc"] // 1000
        self.bars = np.zeros(DAYS * 1440, RATES_DTYPE)
        self.bars["time"] = START + np.arange(len(self.bars)) * 60

    def symbol_select(self, *_: Any) -> bool:
        return True

    def symbol_info(self, symbol: str) -> Any:
        return SimpleNamespace(digits=5, time=START + DAYS * 86_400 - 30) if symbol == "EURUSD" else None

    def copy_ticks_range(self, _: str, first: int, last: int, flags: int) -> Any:
        assert flags == -1
        times = self.ticks["time_msc"]
        return None if self.fails else self.ticks[(times >= first * 1000) & (times <= last * 1000 + self.late)]

    def copy_rates_range(self, _: str, timeframe: int, first: int, last: int) -> Any:
        assert timeframe == 1
        return self.bars[(self.bars["time"] >= first) & (self.bars["time"] <= last)]

    def last_error(self) -> tuple[int, str]:
        return (-4, "Terminal: Not found")


@pytest.mark.parametrize("late", [0, 999])
def test_ticks_come_once_each_and_in_order(late: int) -> None:
    terminal = Terminal(late)
    history = TerminalHistory(terminal, "EURUSD", Kind("ticks"))
    batches = [rows for _, rows in history.batches(START, START + DAYS * 86_400)]
    assert len(batches) == DAYS * 4
    assert np.array_equal(np.concatenate(batches), terminal.ticks)


def test_bars_come_once_each_without_the_forming_one() -> None:
    terminal = Terminal(0)
    history = TerminalHistory(terminal, "EURUSD", Kind("M1"))
    assert history.end() == START + DAYS * 86_400 - 60
    rows = np.concatenate([rows for _, rows in history.batches(START, history.end())])
    assert np.array_equal(rows, terminal.bars[:-1])


def test_an_unknown_symbol_and_a_refusal_are_said() -> None:
    terminal = Terminal(0)
    with pytest.raises(HistoryError, match=r"does not know the symbol NOPE .*Not found"):
        TerminalHistory(terminal, "NOPE", Kind("M1"))
    terminal.fails = True
    with pytest.raises(HistoryError, match="no ticks of EURUSD"):
        list(TerminalHistory(terminal, "EURUSD", Kind("ticks")).batches(START, START + 60))
