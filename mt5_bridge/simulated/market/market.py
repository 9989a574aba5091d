"""All symbols in one market: series that are released together up to one point in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.quote_board import QuoteBoard
from mt5_bridge.simulated.symbols import SymbolSpec


class Source(Protocol):
    """Where ticks come from as the market goes on."""

    def extend(self, series: Mapping[str, Series], until_msc: int) -> None:
        """Give the series what they need to release ticks up to `until_msc` and know their next one."""
        ...


class NothingMore:
    """The source of a replay: all ticks are loaded, and after the last one the market is over."""

    def extend(self, series: Mapping[str, Series], until_msc: int) -> None:
        """Nothing to add."""


class Market:
    """The symbols of the broker with their series."""

    def __init__(
        self, specs: Iterable[SymbolSpec], series: Mapping[str, Series], source: Source, start_msc: int, identity: str
    ) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.series = dict(series)
        self.start_msc = start_msc
        self.identity = identity
        """Names the data: a book that was made on one market is not carried on with another."""
        self._source = source
        self._board: QuoteBoard | None = None
        self._source.extend(self.series, start_msc)

    def publish_to(self, board: QuoteBoard) -> None:
        """Show the newest tick of each symbol on a board from now on."""
        self._board = board
        self._publish(self.series)

    def _publish(self, names: Iterable[str]) -> None:
        for name in names if self._board is not None else ():
            tick = self.series[name].last_tick
            if tick is not None and self._board is not None:
                self._board.put(name, tick)

    def release(self, until_msc: int) -> dict[str, Array]:
        """Make all ticks up to `until_msc` visible; returns the new ones of each symbol that has any."""
        ahead = [series.next_time_msc for series in self.series.values()]
        if all(time is not None and time > until_msc for time in ahead):
            return {}
        self._source.extend(self.series, until_msc)
        fresh = {name: series.release(until_msc) for name, series in self.series.items()}
        # Only what is still ahead now tells whether the market goes on after this moment.
        self._source.extend(self.series, until_msc)
        moved = {name: ticks for name, ticks in fresh.items() if len(ticks)}
        self._publish(moved)
        return moved

    def next_time_msc(self) -> int | None:
        """Time of the first tick that is still ahead, None when the market is over."""
        times = [time for series in self.series.values() if (time := series.next_time_msc) is not None]
        return min(times, default=None)
