"""What a backtest came to: deals, the account's value over time, and a few figures of it."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import Account, Entry
from mt5_bridge.simulated.engine.stretches import Stretches
from mt5_bridge.simulated.engine.sums import Holding, equities
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.structs import Struct

if TYPE_CHECKING:
    from mt5_bridge.strategies.backtest.recording import Recording
    from mt5_bridge.strategies.backtest.run import Settings
    from mt5_bridge.strategies.base import Strategy

FORMAT: Final = 1
CURVE_POINTS: Final = 2000
_OUT: Final = (Entry.OUT, Entry.OUT_BY, Entry.INOUT)
_TRADES: Final = (0, 1)


class Curve:
    """The account's value at the close of each bar: time (ms, broker clock), balance and equity."""

    def __init__(self) -> None:
        self.times = array("q")
        self.balances = array("d")
        self.equities = array("d")

    def add(self, time_msc: int, balance: float, equity: float) -> None:
        """Write one point down."""
        self.times.append(time_msc)
        self.balances.append(balance)
        self.equities.append(equity)

    def extend(self, times: Array, balances: Array, equities: Array) -> None:
        """Write many points down (arrays of int64 and float64)."""
        self.times.frombytes(times.tobytes())
        self.balances.frombytes(balances.tobytes())
        self.equities.frombytes(equities.tobytes())

    def points(self, most: int = CURVE_POINTS) -> list[tuple[int, float, float]]:
        """At most about `most` points that keep the highest and lowest equity of each stretch."""
        count = len(self.times)
        chosen: list[int] = list(range(count))
        if count > most:
            equities = np.frombuffer(self.equities)
            edges = np.linspace(0, count, most // 2 + 1).astype(int)
            pairs = ((a + int(equities[a:b].argmin()), a + int(equities[a:b].argmax())) for a, b in _pairs(edges))
            chosen = sorted({0, count - 1, *(index for pair in pairs for index in pair)})
        return [(self.times[one], self.balances[one], self.equities[one]) for one in chosen]


class Values:
    """Writes the account's value at the ends of stretches into a curve, many at once."""

    def __init__(self, book: Book, account: Account, name: str, stretches: Stretches, count: int, curve: Curve) -> None:
        """The ends of the first `count` stretches are points of the curve."""
        self._book = book
        self._account = account
        self._name = name
        self._stretches = stretches
        self._count = count
        self._curve = curve
        self._written = 0
        self._starts: list[int] = []
        self._balances: list[float] = []
        self._holdings: list[Holding] = []
        self._take(0)

    @property
    def need_each(self) -> bool:
        """Whether the account's value cannot be told later, so that `note` must be called after each stretch."""
        return not self._holdings

    def note(self, number: int) -> None:
        """This stretch and those before it have been played, and up to its beginning nothing has changed."""
        if number < self._count and not self._take(number):
            self._write(number)
            account = self._account
            equity = self._book.valuation.equity(account)
            self._curve.add(int(self._stretches.times[number]), account.balance, equity)
            self._written = number + 1

    def finish(self) -> None:
        """All stretches have been played."""
        self._write(self._count)

    def _take(self, number: int) -> bool:
        """Whether what is held from the end of this stretch on is something whose value can be told later."""
        holding = self._book.valuation.holding(self._account, self._name)
        if holding is not None and not (self._holdings and holding is self._holdings[-1]):
            self._starts.append(number)
            self._balances.append(self._account.balance)
            self._holdings.append(holding)
        return holding is not None

    def _write(self, stop: int) -> None:
        if self._holdings and stop > self._written:
            part, stretches = slice(self._written, stop), self._stretches
            lengths = np.diff([*self._starts, stop])
            values = equities(self._holdings, lengths, stretches.bids[part], stretches.asks[part])
            self._curve.extend(stretches.times[part], np.repeat(self._balances, lengths), values)
        self._written = stop
        for noted in (self._starts, self._balances, self._holdings):
            noted.clear()


def _pairs(edges: Any) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges) if b > a]


@dataclass(frozen=True)
class Statistics:
    """Money is the account's currency; profits are net of commission, fee and swap; ratios are None without trades.

    A trade is a position that was closed. Drawdowns are of the equity at bars, `max_drawdown_share` of its peak.
    `bar_sharpe` is mean over deviation of the equity's changes from bar to bar, not annualised.
    """

    deposit: float
    balance: float
    equity: float
    net_profit: float
    gross_profit: float
    gross_loss: float
    trades: int
    won: int
    win_share: float | None
    profit_factor: float | None
    expected_profit: float | None
    largest_win: float
    largest_loss: float
    commission: float
    swap: float
    max_drawdown: float
    max_drawdown_share: float
    bar_sharpe: float | None
    open_positions: int


def statistics(account: Account, curve: Curve, deposit: float) -> Statistics:
    """The figures of an account after a run."""
    deals = [deal for deal in account.deals if deal.type in _TRADES]
    costs: dict[int, float] = {}
    for deal in deals:
        costs[deal.position_id] = (
            costs.get(deal.position_id, 0.0) + deal.profit + deal.commission + deal.fee + deal.swap
        )
    closed = {deal.position_id for deal in deals if deal.entry in _OUT} - set(account.positions)
    results = [round(costs[position], 2) for position in closed]
    wins, losses = [one for one in results if one > 0], [one for one in results if one <= 0]
    equities = np.frombuffer(curve.equities) if len(curve.equities) else np.array([deposit])
    peaks = np.maximum.accumulate(np.concatenate(([deposit], equities)))[1:]
    falls = peaks - equities
    changes = np.diff(equities)
    deviation = float(changes.std()) if len(changes) else 0.0
    equity = float(equities[-1])
    return Statistics(
        deposit=deposit,
        balance=account.balance,
        equity=equity,
        net_profit=round(account.balance - deposit, 2),
        gross_profit=round(sum(wins), 2),
        gross_loss=round(sum(losses), 2),
        trades=len(results),
        won=len(wins),
        win_share=len(wins) / len(results) if results else None,
        profit_factor=sum(wins) / -sum(losses) if sum(losses) < 0 else None,
        expected_profit=round(sum(results) / len(results), 4) if results else None,
        largest_win=max(wins, default=0.0),
        largest_loss=min(losses, default=0.0),
        commission=round(sum(deal.commission + deal.fee for deal in deals), 2),
        swap=round(sum(deal.swap for deal in deals), 2),
        max_drawdown=round(float(falls.max()), 2),
        max_drawdown_share=float((falls / peaks).max()) if float(peaks.min()) > 0 else math.inf,
        bar_sharpe=float(changes.mean()) / deviation if deviation > 0 else None,
        open_positions=len(account.positions),
    )


@dataclass(frozen=True)
class Result:
    """A finished backtest."""

    strategy: str
    title: str
    parameters: dict[str, Any]
    settings: Settings
    recording: str
    digest: str
    ticks: int
    bars: int
    deals: tuple[Struct, ...]
    curve: Curve
    statistics: Statistics
    log: Sequence[tuple[int, str]]

    @classmethod
    def of(
        cls,
        strategy: Strategy,
        settings: Settings,
        recording: Recording,
        account: Account,
        curve: Curve,
        log: Sequence[tuple[int, str]],
        ticks: int,
    ) -> Result:
        """What is left when a run has ended."""
        return cls(
            strategy.name,
            strategy.title,
            dict(strategy.settings),
            settings,
            recording.name,
            recording.digest,
            ticks,
            max(0, len(curve.times) - 1),
            tuple(account.deals),
            curve,
            statistics(account, curve, settings.deposit),
            log,
        )

    @property
    def trades(self) -> list[Struct]:
        """The deals that trade, deposits left out."""
        return [deal for deal in self.deals if deal.type in _TRADES]

    def plain(self) -> dict[str, Any]:
        """All of it as plain JSON values. Times are ms of the broker's clock."""
        first, last = (self.curve.times[0], self.curve.times[-1]) if len(self.curve.times) else (0, 0)
        return {
            "format": FORMAT,
            "strategy": self.strategy,
            "title": self.title,
            "parameters": self.parameters,
            "settings": asdict(self.settings),
            "data": {
                "recording": self.recording,
                "digest": self.digest,
                "first_msc": first,
                "last_msc": last,
                "ticks": self.ticks,
                "bars": self.bars,
            },
            "statistics": asdict(self.statistics),
            "deals": [deal._asdict() for deal in self.trades],
            "curve": self.curve.points(),
            "log": list(self.log),
        }
