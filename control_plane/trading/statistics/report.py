"""All statistics of a selection of an account's history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from control_plane.trading.ledger import DealFacts, DealKind, balance_of, book_order
from control_plane.trading.statistics import figures
from control_plane.trading.statistics.curve import (
    BalancePoint,
    Day,
    EquityAt,
    balance_curve,
    day_of,
    days_of,
    underwater,
)
from control_plane.trading.statistics.figures import AccountFigures, Group, TradeFigures
from control_plane.trading.statistics.trades import Trade, trades_of

ZERO = Decimal(0)


@dataclass(frozen=True)
class Selection:
    """What to count; None for everything. Days are the broker's, both included."""

    since: date | None = None
    until: date | None = None
    symbol: str | None = None
    magic: int | None = None

    @property
    def of_trades_alone(self) -> bool:
        """A balance belongs to the whole account: figures of it have no meaning for one symbol or one bot."""
        return self.symbol is not None or self.magic is not None

    def holds(self, trade: Trade) -> bool:
        return (
            self.spans(trade.closed_msc)
            and (self.symbol is None or trade.symbol == self.symbol)
            and (self.magic is None or trade.magic == self.magic)
        )

    def spans(self, msc: int) -> bool:
        return self.since_msc <= msc < self.until_msc

    @property
    def since_msc(self) -> int:
        return 0 if self.since is None else _midnight(self.since)

    @property
    def until_msc(self) -> int:
        return 2**63 if self.until is None else _midnight(self.until) + 86_400_000


@dataclass(frozen=True)
class CurvePoint:
    """Balance, or the sum of results where only trades are counted. Broker wall clock in milliseconds."""

    msc: int
    value: Decimal
    drawdown: float
    """Below the peak so far: a share of the growth, or money where only trades are counted."""


@dataclass(frozen=True)
class Report:
    trades: TradeFigures
    account: AccountFigures | None
    """None where only trades are counted."""
    curve: list[CurvePoint]
    groups: Mapping[str, list[Group]]


GROUPS = {
    "symbol": figures.by_symbol,
    "weekday": figures.by_weekday,
    "hour": figures.by_hour,
    "month": figures.by_month,
    "direction": figures.by_direction,
    "magic": figures.by_magic,
}


def report(deals: Sequence[DealFacts], samples: Sequence[EquityAt], only: Selection, most_points: int = 400) -> Report:
    """`deals` are the whole book; trades need openings from before the selection."""
    trades = selected_trades(deals, only)
    if only.of_trades_alone:
        account, curve = None, _result_curve(trades)
    else:
        within, start = _window(deals, only)
        points = balance_curve(within, start)
        seen = [each for each in samples if only.spans(each.msc)]
        account = figures.account_figures(within, points, days_of(within, start), seen, start)
        curve = _balance_points(points)
    groups = {name: group(trades) for name, group in GROUPS.items()}
    return Report(figures.trade_figures(trades), account, thinned(curve, most_points), groups)


def selected_trades(deals: Sequence[DealFacts], only: Selection) -> list[Trade]:
    return [trade for trade in trades_of(deals) if only.holds(trade)]


def calendar(deals: Sequence[DealFacts], only: Selection) -> list[Day]:
    """Days with something on them. Where only trades are counted, their net results on the days of their closing."""
    if not only.of_trades_alone:
        within, start = _window(deals, only)
        return days_of(within, start)
    closed: dict[date, list[Trade]] = defaultdict(list)
    for trade in selected_trades(deals, only):
        closed[day_of(trade.closed_msc)].append(trade)
    return [
        Day(day, sum((trade.net for trade in trades), ZERO), ZERO, len(trades), ZERO, 0.0)
        for day, trades in sorted(closed.items())
    ]


def thinned(curve: Sequence[CurvePoint], most: int) -> list[CurvePoint]:
    """At most `most` points: of each stretch the lowest, so that no drawdown is hidden, and always both ends."""
    if len(curve) <= most:
        return list(curve)
    inner, stretch = curve[1:-1], -(-(len(curve) - 2) // max(1, most - 2))
    lowest = [max(inner[at : at + stretch], key=lambda each: each.drawdown) for at in range(0, len(inner), stretch)]
    return [curve[0], *lowest, curve[-1]]


def _window(deals: Sequence[DealFacts], only: Selection) -> tuple[list[DealFacts], Decimal]:
    """Deals of the span, and the balance before it."""
    ordered = sorted((deal for deal in deals if deal.kind is not DealKind.CREDIT), key=book_order)
    before = balance_of([deal for deal in ordered if deal.time_msc < only.since_msc])
    return [deal for deal in ordered if only.spans(deal.time_msc)], before


def _balance_points(points: Sequence[BalancePoint]) -> list[CurvePoint]:
    below = underwater([(point.msc, point.growth) for point in points])
    return [CurvePoint(point.msc, point.balance, fall) for point, fall in zip(points, below, strict=True)]


def _result_curve(trades: Sequence[Trade]) -> list[CurvePoint]:
    total, peak, curve = ZERO, ZERO, []
    for trade in trades:
        total += trade.net
        peak = max(peak, total)
        curve.append(CurvePoint(trade.closed_msc, total, float(peak - total)))
    return curve


def _midnight(day: date) -> int:
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )
