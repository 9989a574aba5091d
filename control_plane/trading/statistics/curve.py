"""Curves of an account: balance, growth without deposits and withdrawals, drawdown, returns of days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from control_plane.trading.ledger import ENTRY_IN, DealFacts, DealKind, book_order

ZERO = Decimal(0)


@dataclass(frozen=True)
class BalancePoint:
    """The account after one deal. Broker wall clock in milliseconds."""

    msc: int
    balance: Decimal
    result: Decimal
    """Everything earned so far, without what came and went."""
    growth: float
    """What one unit of money has become; deposits and withdrawals do not move it."""


@dataclass(frozen=True)
class EquityAt:
    """Equity beside balance at one moment, broker wall clock in milliseconds."""

    msc: int
    balance: Decimal
    equity: Decimal


@dataclass(frozen=True)
class Drawdown:
    """A fall from a peak: `depth` in the curve's own unit. Times in broker wall clock, milliseconds."""

    depth: float
    peak_msc: int
    trough_msc: int
    recovered_msc: int | None
    """When the peak was reached again; None while it has not been."""


@dataclass(frozen=True)
class Day:
    """One day of the broker's calendar."""

    day: date
    result: Decimal
    flow: Decimal
    trades: int
    balance: Decimal
    """At its end."""
    growth: float
    """Of that day alone; 0.01 is one per cent."""


def balance_curve(deals: Sequence[DealFacts], start: Decimal = ZERO) -> list[BalancePoint]:
    """One point for each deal that moves the balance. `start` is the balance before the first.

    Growth is time-weighted: each result counts against the balance before it. While there is nothing to count
    against (a balance of zero or below), growth stands still.
    """
    points: list[BalancePoint] = []
    balance, result, growth = start, ZERO, 1.0
    # Since the last flow growth is a plain quotient.
    base, base_growth = start, 1.0
    for deal in sorted(deals, key=book_order):
        if deal.kind is DealKind.CREDIT:
            continue
        balance += deal.amount
        if deal.kind is DealKind.FLOW:
            base, base_growth = balance, growth
        else:
            result += deal.amount
            if base > 0:
                growth = base_growth * max(0.0, float(balance / base))
            else:
                base, base_growth = balance, growth
        points.append(BalancePoint(deal.time_msc, balance, result, growth))
    return points


def deepest(curve: Sequence[tuple[int, float]], *, relative: bool) -> Drawdown | None:
    """The deepest fall of (time, value) points, in the values' unit or as a share of the peak; None without a fall.

    The first of several that are equally deep.
    """
    best: Drawdown | None = None
    if not curve:
        return None
    peak_msc, peak = curve[0]
    fallen: Drawdown | None = None
    for msc, value in curve:
        if value >= peak:
            if fallen is not None:
                best = _deeper(best, Drawdown(fallen.depth, fallen.peak_msc, fallen.trough_msc, msc))
                fallen = None
            peak_msc, peak = msc, value
            continue
        depth = peak - value
        if relative:
            depth = depth / peak if peak > 0 else 0.0
        if depth > 0 and (fallen is None or depth > fallen.depth):
            fallen = Drawdown(depth, peak_msc, msc, None)
    return best if fallen is None else _deeper(best, fallen)


def _deeper(known: Drawdown | None, other: Drawdown) -> Drawdown:
    return other if known is None or other.depth > known.depth else known


def underwater(curve: Sequence[tuple[int, float]]) -> list[float]:
    """How far below its peak each point lies, as a share of that peak."""
    peak, below = 0.0, []
    for _, value in curve:
        peak = max(peak, value)
        below.append((peak - value) / peak if peak > 0 else 0.0)
    return below


def equity_growth(points: Sequence[BalancePoint], samples: Sequence[EquityAt]) -> list[tuple[int, float]]:
    """Growth with what is open counted in: the balance's growth times equity by balance, at each sample."""
    curve: list[tuple[int, float]] = []
    place, growth = 0, 1.0
    for sample in sorted(samples, key=lambda each: each.msc):
        while place < len(points) and points[place].msc <= sample.msc:
            growth = points[place].growth
            place += 1
        if sample.balance > 0:
            curve.append((sample.msc, growth * float(sample.equity / sample.balance)))
    return curve


def days_of(deals: Sequence[DealFacts], start: Decimal = ZERO) -> list[Day]:
    """Days of the broker's calendar with a deal, oldest first. Closings count as trades of their day."""
    ordered = sorted((deal for deal in deals if deal.kind is not DealKind.CREDIT), key=book_order)
    points = balance_curve(ordered, start)
    days: list[Day] = []
    began_at = ended_at = 1.0
    for deal, point in zip(ordered, points, strict=True):
        day = day_of(deal.time_msc)
        if not days or days[-1].day != day:
            began_at = ended_at
            days.append(Day(day, ZERO, ZERO, 0, ZERO, 0.0))
        known, flows = days[-1], deal.kind is DealKind.FLOW
        ended_at = point.growth
        days[-1] = Day(
            day,
            known.result + (ZERO if flows else deal.amount),
            known.flow + (deal.amount if flows else ZERO),
            known.trades + (deal.kind is DealKind.TRADE and deal.entry != ENTRY_IN),
            point.balance,
            ended_at / began_at - 1.0 if began_at > 0 else 0.0,
        )
    return days


def daily_returns(days: Sequence[Day]) -> list[float]:
    """Of every weekday from the first to the last day, zero where nothing happened; weekends only with a deal."""
    by_day = {each.day: each.growth for each in days}
    if not by_day:
        return []
    first, last = min(by_day), max(by_day)
    span = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [by_day.get(day, 0.0) for day in span if day in by_day or day.weekday() < 5]


def moment_of(msc: int) -> datetime:
    """Broker wall clock, shown as if it were UTC: its zone is the broker's own and not told. Raises OverflowError."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=msc)


def day_of(msc: int) -> date:
    return moment_of(msc).date()
