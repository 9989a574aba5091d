"""Ticks and bars of a live terminal, a stretch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mt5_bridge.contract import CONSTANTS
from mt5_bridge.history.kinds import Kind
from mt5_bridge.simulated.market.bars import MINUTE, Array, minutes_of, open_times
from mt5_bridge.simulated.market.history import HistoryError

_TICK_SECONDS = 6 * 3600
_BARS = 20_000  # a terminal gives no more than its "max bars in chart" in one answer


class TerminalHistory:
    """One symbol of a terminal; `terminal` is the official package, a client of the bridge, or anything like them."""

    def __init__(self, terminal: Any, symbol: str, kind: Kind) -> None:
        """Raises HistoryError when the terminal does not know the symbol."""
        self._terminal = terminal
        self._symbol = symbol
        self._kind = kind
        terminal.symbol_select(symbol, True)  # some terminals load history of selected symbols only
        info = terminal.symbol_info(symbol)
        if info is None:
            raise HistoryError(f"The terminal does not know the symbol {symbol} ({self._error()}).")
        self.digits = int(info.digits)
        self._quoted_at = int(info.time)

    def end(self) -> int:
        """Broker time (s) at which what is finished ends: ticks at the last quote, bars before the forming one."""
        if self._kind.is_ticks:
            return self._quoted_at
        return int(open_times(np.array([self._quoted_at]), self._kind.timeframe)[0])

    def batches(self, first: int, end: int) -> Iterator[tuple[int, Array]]:
        """Rows from `first` up to but not including `end` (s, broker clock), each with the time reached.

        Raises HistoryError when the terminal gives none.
        """
        length = _TICK_SECONDS if self._kind.is_ticks else _BARS * minutes_of(self._kind.timeframe) * MINUTE
        for start in range(first, end, length):
            stop = min(start + length, end)
            rows = self._rows(start, stop)
            if rows is None:
                raise HistoryError(
                    f"The terminal gives no {self._kind.words} of {self._symbol} from {start} to {stop} "
                    f"({self._error()})."
                )
            # The end is included by some terminals to the second and by others to the millisecond.
            times = np.asarray(rows["time"])
            yield stop, np.asarray(rows)[(times >= start) & (times < stop)].astype(self._kind.dtype)

    def _rows(self, start: int, stop: int) -> Any:
        if self._kind.is_ticks:
            return self._terminal.copy_ticks_range(self._symbol, start, stop, CONSTANTS["COPY_TICKS_ALL"])
        return self._terminal.copy_rates_range(self._symbol, self._kind.timeframe, start, stop)

    def _error(self) -> str:
        code, text = self._terminal.last_error()
        return f"{code}, {text}"
