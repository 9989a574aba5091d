"""Key figures of trades and curves. A figure that its definition does not allow (no losses, one trade) is None."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from control_plane.trading.ledger import DealFacts, DealKind
from control_plane.trading.statistics.curve import (
    BalancePoint,
    Day,
    Drawdown,
    EquityAt,
    daily_returns,
    deepest,
    equity_growth,
    moment_of,
)
from control_plane.trading.statistics.trades import Trade

ZERO = Decimal(0)
TRADING_DAYS = 252
"""Of a year, by which daily ratios are made yearly."""
_YEAR_MSC = 365.25 * 86_400_000
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Streak:
    """Trades in a row."""

    length: int
    net: Decimal


@dataclass(frozen=True)
class TradeFigures:
    """Of closed trades. Money in the account currency, net of swap and commission."""

    trades: int
    wins: int
    losses: int
    win_rate: float | None
    """Wins by all trades."""
    net: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    """Zero or negative."""
    profit_factor: float | None
    expectancy: Decimal | None
    average_win: Decimal | None
    average_loss: Decimal | None
    payoff: float | None
    """Average win by average loss."""
    largest_win: Decimal | None
    largest_loss: Decimal | None
    longest_wins: Streak
    longest_losses: Streak
    sqn: float | None
    average_held_seconds: float | None
    volume: float
    """Lots."""
    swap: Decimal
    commission: Decimal
    drawdown: Drawdown | None
    """Of their summed net results, in money."""


@dataclass(frozen=True)
class AccountFigures:
    """Of the whole account in a span of time."""

    deposits: Decimal
    withdrawals: Decimal
    """Zero or negative."""
    other_costs: Decimal
    """Charges, interest, tax and the like: what is no trade's own."""
    balance: Decimal
    result: Decimal
    gain: float | None
    """Time-weighted return; 0.01 is one per cent."""
    absolute_drawdown: Decimal
    """How far the result lay below where it began."""
    max_drawdown: Drawdown | None
    """Deepest fall of the result, in money."""
    relative_drawdown: Drawdown | None
    """Deepest fall of the growth, as a share of its peak."""
    equity_drawdown: Drawdown | None
    """The same with open positions counted in, as far as equity was seen."""
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    yearly_gain: float | None


def trade_figures(trades: Sequence[Trade]) -> TradeFigures:
    """`trades` in the order of their closing."""
    nets = [trade.net for trade in trades]
    won, lost = [net for net in nets if net > 0], [net for net in nets if net < 0]
    gross_profit, gross_loss = sum(won, ZERO), sum(lost, ZERO)
    average_win, average_loss = _mean(won), _mean(lost)
    return TradeFigures(
        trades=len(nets),
        wins=len(won),
        losses=len(lost),
        win_rate=len(won) / len(nets) if nets else None,
        net=sum(nets, ZERO),
        gross_profit=gross_profit,
        gross_loss=gross_loss,
        profit_factor=float(gross_profit / -gross_loss) if gross_loss else None,
        expectancy=_mean(nets),
        average_win=average_win,
        average_loss=average_loss,
        payoff=float(average_win / -average_loss) if average_win is not None and average_loss is not None else None,
        largest_win=max(won, default=None),
        largest_loss=min(lost, default=None),
        longest_wins=longest_streak(nets, lambda net: net > 0),
        longest_losses=longest_streak(nets, lambda net: net < 0),
        sqn=sqn([float(net) for net in nets]),
        average_held_seconds=math.fsum(trade.held_seconds for trade in trades) / len(trades) if trades else None,
        volume=math.fsum(trade.volume for trade in trades),
        swap=sum((trade.swap for trade in trades), ZERO),
        commission=sum((trade.commission for trade in trades), ZERO),
        drawdown=deepest(_summed(trades), relative=False),
    )


def account_figures(
    deals: Sequence[DealFacts],
    points: Sequence[BalancePoint],
    days: Sequence[Day],
    samples: Sequence[EquityAt],
    start: Decimal = ZERO,
) -> AccountFigures:
    """`points` and `days` are those of the same deals; `start` is the balance before the first of them."""
    flows = [deal.amount for deal in deals if deal.kind is DealKind.FLOW]
    returns = daily_returns(days)
    growth = [(points[0].msc, 1.0), *((point.msc, point.growth) for point in points)] if points else []
    result = [(points[0].msc, 0.0), *((point.msc, float(point.result)) for point in points)] if points else []
    relative = deepest(growth, relative=True)
    gain = points[-1].growth - 1.0 if points else None
    yearly = _yearly(points[-1].growth, points[-1].msc - points[0].msc) if points else None
    return AccountFigures(
        deposits=sum((flow for flow in flows if flow > 0), ZERO),
        withdrawals=sum((flow for flow in flows if flow < 0), ZERO),
        other_costs=sum((deal.amount for deal in deals if deal.kind is DealKind.COST), ZERO),
        balance=points[-1].balance if points else start,
        result=points[-1].result if points else ZERO,
        gain=gain,
        absolute_drawdown=max(ZERO, -min((point.result for point in points), default=ZERO)),
        max_drawdown=deepest(result, relative=False),
        relative_drawdown=relative,
        equity_drawdown=deepest(equity_growth(points, samples), relative=True),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        calmar=yearly / relative.depth if yearly is not None and relative is not None else None,
        yearly_gain=yearly,
    )


def sharpe(returns: Sequence[float]) -> float | None:
    """Mean by standard deviation (of a sample) of daily returns, made yearly; without a risk-free rate."""
    deviation = _deviation(returns)
    return None if not deviation else math.fsum(returns) / len(returns) / deviation * math.sqrt(TRADING_DAYS)


def sortino(returns: Sequence[float]) -> float | None:
    """Mean by the root of the mean square of the negative daily returns, made yearly."""
    if not returns:
        return None
    downside = math.sqrt(math.fsum(min(0.0, each) ** 2 for each in returns) / len(returns))
    return None if not downside else math.fsum(returns) / len(returns) / downside * math.sqrt(TRADING_DAYS)


def sqn(nets: Sequence[float]) -> float | None:
    """System quality number: root of the number of trades times mean by standard deviation (of a sample)."""
    deviation = _deviation(nets)
    return None if not deviation else math.sqrt(len(nets)) * (math.fsum(nets) / len(nets)) / deviation


def longest_streak(nets: Sequence[Decimal], belongs: Callable[[Decimal], bool]) -> Streak:
    """The first of several that are equally long. What does not belong ends a streak, a zero as well."""
    best = Streak(0, ZERO)
    length, total = 0, ZERO
    for net in nets:
        length, total = (length + 1, total + net) if belongs(net) else (0, ZERO)
        if length > best.length:
            best = Streak(length, total)
    return best


@dataclass(frozen=True)
class Group:
    """Trades that have something in common."""

    key: str
    trades: int
    wins: int
    net: Decimal
    volume: float


def grouped(trades: Iterable[Trade], key: Callable[[Trade], _Key], name: Callable[[_Key], str] = str) -> list[Group]:
    """In the order of their keys."""
    found: dict[_Key, list[Trade]] = defaultdict(list)
    for trade in trades:
        found[key(trade)].append(trade)
    return [
        Group(
            name(each),
            len(found[each]),
            sum(trade.net > 0 for trade in found[each]),
            sum((trade.net for trade in found[each]), ZERO),
            math.fsum(trade.volume for trade in found[each]),
        )
        for each in sorted(found)  # type: ignore[type-var]  # keys are numbers or texts
    ]


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def by_symbol(trades: Sequence[Trade]) -> list[Group]:
    return grouped(trades, lambda trade: trade.symbol)


def by_weekday(trades: Sequence[Trade]) -> list[Group]:
    """Of the closing, as are hours and months; all by the broker's clock."""
    return grouped(trades, lambda trade: moment_of(trade.closed_msc).weekday(), lambda day: _WEEKDAYS[day])


def by_hour(trades: Sequence[Trade]) -> list[Group]:
    return grouped(trades, lambda trade: moment_of(trade.closed_msc).hour, lambda hour: f"{hour:02}")


def by_month(trades: Sequence[Trade]) -> list[Group]:
    return grouped(trades, lambda trade: moment_of(trade.closed_msc).strftime("%Y-%m"))


def by_direction(trades: Sequence[Trade]) -> list[Group]:
    return grouped(trades, lambda trade: "long" if trade.long else "short")


def by_magic(trades: Sequence[Trade]) -> list[Group]:
    return grouped(trades, lambda trade: trade.magic)


def _summed(trades: Sequence[Trade]) -> list[tuple[int, float]]:
    """The sum of net results after each trade, from zero."""
    total = ZERO
    curve = [(trades[0].opened_msc, 0.0)] if trades else []
    for trade in trades:
        total += trade.net
        curve.append((trade.closed_msc, float(total)))
    return curve


def _yearly(growth: float, msc: int) -> float | None:
    """A gain made yearly; None for a span of less than a day, of which a year's would say nothing."""
    if msc < 86_400_000:
        return None
    try:
        return math.pow(growth, _YEAR_MSC / msc) - 1.0
    except OverflowError:
        return None


def _mean(amounts: Sequence[Decimal]) -> Decimal | None:
    return sum(amounts, ZERO) / len(amounts) if amounts else None


def _deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None below two values."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
