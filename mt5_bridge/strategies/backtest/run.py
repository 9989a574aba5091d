"""Plays a strategy on a recording. The clock is the market's: a decision and its orders take no time.

What makes a live run and a backtest agree: both go by moments (ticks of one millisecond are one), both act on a bar
with the first tick of a later one that moves the bid (rule E4: only such ticks make bars), at the prices of that
moment; both give a decision the same number of closed bars; and both carry wishes out with `execution.Execution`.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import Account, Quote
from mt5_bridge.simulated.engine.stretches import Stretches
from mt5_bridge.simulated.market.bars import TICK_FLAG_BID, Array, aggregate, open_times
from mt5_bridge.simulated.symbols import SWAP_POINTS, SymbolSpec
from mt5_bridge.strategies.backtest.agenda import Agenda
from mt5_bridge.strategies.backtest.recording import Recording
from mt5_bridge.strategies.backtest.result import Curve, Result, Values
from mt5_bridge.strategies.backtest.terminal import BacktestContext, BacktestTerminal
from mt5_bridge.strategies.base import Side, Strategy
from mt5_bridge.strategies.execution import InstantExecution
from mt5_bridge.strategies.session import Session
from mt5_bridge.structs import Tick, unchecked

_LOGIN: Final = 1
_LOG_LINES: Final = 2000
_COLLECT_AFTER: Final = 100_000


@dataclass(frozen=True)
class Settings:
    """What is tested and under which terms. Volume is lots, money the account's currency, times the broker's (ms).

    `commission` is what one lot of a deal costs; swaps are points a day, 0 keeps the symbol's own;
    `spread` is points, None keeps the recording's.
    """

    symbol: str
    timeframe: int
    volume: float
    first_msc: int = 0
    last_msc: int = 2**62
    deposit: float = 10_000.0
    currency: str = "USD"
    leverage: int = 100
    commission: float = 0.0
    swap_long: float = 0.0
    swap_short: float = 0.0
    spread: int | None = None
    magic: int = 1
    bot_id: str = "backtest"
    revision: int = 1


class CancelledError(Exception):
    """The one who asked for the backtest wants it no more."""


class _Log:
    """What the strategy and its orders said, with the market's time."""

    def __init__(self, exchange: Exchange) -> None:
        self._book = exchange.book
        self.lines: list[tuple[int, str]] = []

    @property
    def is_full(self) -> bool:
        """Whether nothing more is written down."""
        return len(self.lines) >= _LOG_LINES

    def info(self, text: str) -> None:
        if not self.is_full:
            self.lines.append((self._book.now_msc, text))

    warning = info


def run(
    strategy: Strategy,
    recording: Recording,
    settings: Settings,
    progress: Callable[[float], bool] = lambda _: True,
) -> Result:
    """Play a strategy from the first to the last moment. `progress` gets the share done; False from it ends the run.

    Raises CancelledError, and UnableError when the strategy cannot work here.
    """
    with _rare_collections():
        return _Run(strategy, recording, settings, progress).play()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """A run makes hundreds of thousands of records that stay, which need not be looked through every few hundred."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Run:
    def __init__(
        self, strategy: Strategy, recording: Recording, settings: Settings, progress: Callable[[float], bool]
    ) -> None:
        self._settings = settings
        self._recording = recording
        self._strategy = strategy
        self._progress = progress
        self._name = settings.symbol
        spec = _spec(recording.spec, settings)
        self._frames = aggregate(recording.bars, settings.timeframe)
        self._opens = np.ascontiguousarray(self._frames["time"])
        self._account = Account(_LOGIN, "Backtest", settings.currency, settings.leverage)
        self._exchange = Exchange({self._name: spec}, [], settings.first_msc)
        self._exchange.open_account(self._account, settings.deposit)
        self._terminal = BacktestTerminal(self._exchange, self._account, spec, self._frames, settings.timeframe)
        self._log = _Log(self._exchange)
        execution = InstantExecution(settings, self._log, self._terminal.held)
        market = (self._name, settings.timeframe, settings.volume, settings.magic)
        context = BacktestContext(self._account, *market, self._terminal, self._log.info)
        self._session = Session(
            strategy, context, lambda wishes, occasion: execution.carry_out(self._terminal, wishes, occasion)
        )
        self._needed = self._session.bars_needed
        self._point = spec.point
        self._told = len(self._account.deals)
        self._asked: dict[Side | None, Array | None] = {}
        self._key = -1
        self._curve = Curve()
        self.ticks = 0

    def play(self) -> Result:
        settings, started = self._settings, False
        first = max(settings.first_msc, self._recording.bounds[0])
        length = max(1, min(settings.last_msc, self._recording.bounds[1]) - first)
        for block in self._recording.blocks(settings.first_msc, settings.last_msc):
            ticks = block if settings.spread is None else self._with_spread(block)
            if not started:
                self._begin(ticks)
                started = True
            if self._session.wants_ticks or self._session.wants_trades:
                self._moment_by_moment(ticks)
            else:
                self._bar_by_bar(ticks)
            self.ticks += len(ticks)
            self._exchange.book.take_changes()
            if not self._progress(min(1.0, (int(ticks["time_msc"][-1]) - first) / length)):
                raise CancelledError
        if started:
            self._session.stop()
            self._note()
        return Result.of(
            self._strategy, settings, self._recording, self._account, self._curve, self._log.lines, self.ticks
        )

    def _begin(self, ticks: Array) -> None:
        """The first tick is there, and what lies before it is history."""
        row = ticks[0]
        quote = Quote(float(row["bid"]), float(row["ask"]), int(row["time_msc"]), float(row["last"]))
        self._exchange.set_quote(self._name, quote)
        self._terminal.show(ticks, 0)
        key = int(open_times(ticks["time"][:1], self._settings.timeframe)[0])
        self._terminal.closed = max(0, int(np.searchsorted(self._opens, key)) - 1)
        self._session.start()

    def _decisions(self, ticks: Array) -> tuple[Array, Array]:
        """Number of the last tick of the moment, and number of closed bars, for each moment in which a bar closes."""
        moving = np.flatnonzero(ticks["flags"] & TICK_FLAG_BID)
        keys = open_times(ticks["time"][moving], self._settings.timeframe)
        fresh = np.flatnonzero(keys != np.concatenate(([self._key], keys[:-1]))) if len(keys) else keys
        if len(keys):
            self._key = int(keys[-1])
        times = np.ascontiguousarray(ticks["time_msc"])
        ends = np.searchsorted(times, times[moving[fresh]], "right") - 1
        closed = np.searchsorted(self._opens, keys[fresh])
        return ends, closed

    def _bar_by_bar(self, ticks: Array) -> None:
        """From one bar at which something may happen to the next, for strategies that see closed bars alone."""
        ends, closed = self._decisions(ticks)
        stops = ends + 1
        if not len(stops) or stops[-1] < len(ticks):
            stops = np.append(stops, len(ticks))
        stretches = Stretches(ticks, stops)
        agenda = Agenda(closed, self._needed, self._answers)
        values = Values(self._exchange.book, self._account, self._name, stretches, len(ends), self._curve)
        exchange, context = self._exchange, self._session.context
        number, count = 0, len(stops)
        while number < count:
            asked = agenda.next(number, context.held)
            stop = number + 1 if values.need_each else min(asked + 1, count)
            number = exchange.skip(self._name, stretches, number, stop)
            if number < stop:
                exchange.advance({self._name: stretches.ticks(number)}, stretches.last(number).time_msc)
                # What was held may have gone with a stop just now.
                asked = agenda.next(number, context.held)
                number += 1
            if asked == number - 1:
                self._terminal.show(ticks, int(ends[number - 1]))
                self._bar(int(closed[number - 1]))
            values.note(number - 1)
        values.finish()

    def _moment_by_moment(self, ticks: Array) -> None:
        decisions = dict(zip(*(one.tolist() for one in self._decisions(ticks)), strict=True))
        times = ticks["time_msc"].tolist()
        bids, asks, deals = ticks["bid"].tolist(), ticks["ask"].tolist(), ticks["last"].tolist()
        exchange, session, name, last = self._exchange, self._session, self._name, len(ticks) - 1
        for number, time_msc in enumerate(times):
            exchange.tick(name, Quote(bids[number], asks[number], time_msc, deals[number]))
            if number < last and times[number + 1] == time_msc:
                continue
            self._terminal.show(ticks, number)
            if session.wants_trades and len(self._account.deals) > self._told:
                self._tell_deals()
            if number in decisions:
                if decisions[number] >= self._needed:
                    self._bar(decisions[number])
                self._note()
            if session.wants_ticks:
                session.tick(unchecked(Tick, ticks[number].item()))

    def _bar(self, closed: int) -> None:
        self._terminal.closed = closed
        self._session.bar(self._frames[closed - self._needed : closed])

    def _answers(self, held: Side | None) -> Array | None:
        """What the strategy says of all bars with this position, asked once."""
        if held not in self._asked:
            self._asked[held] = self._strategy.may_act(self._frames, held)
        return self._asked[held]

    def _tell_deals(self) -> None:
        fresh, self._told = self._account.deals[self._told :], len(self._account.deals)
        for deal in fresh:
            if (deal.symbol, deal.magic) == (self._name, self._settings.magic):
                self._session.trade(deal)

    def _note(self) -> None:
        """Write the account's value down."""
        account, book = self._account, self._exchange.book
        equity = book.valuation.equity(account) if account.positions else account.balance + account.credit
        self._curve.add(book.now_msc, account.balance, equity)

    def _with_spread(self, ticks: Array) -> Array:
        ticks = ticks.copy()
        points = np.rint(ticks["bid"] / self._point) + (self._settings.spread or 0)
        ticks["ask"] = points / round(1 / self._point)
        return ticks


def _spec(spec: SymbolSpec, settings: Settings) -> SymbolSpec:
    changes: dict[str, Any] = {"commission": settings.commission} if settings.commission else {}
    if settings.swap_long or settings.swap_short:
        changes |= {"swap_mode": SWAP_POINTS, "swap_long": settings.swap_long, "swap_short": settings.swap_short}
    return replace(spec, **changes) if changes else spec


def lots_fit(volume: float, spec: SymbolSpec) -> bool:
    """Whether the symbol can be traded in this volume."""
    steps = volume / spec.volume_step
    return spec.volume_min <= volume <= spec.volume_max and math.isclose(steps, round(steps), abs_tol=1e-6)
