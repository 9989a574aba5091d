"""Bodies of statistics. Money in the account currency as decimal strings; docs/statistics.md defines each figure."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel


class StreakOut(BaseModel):
    length: int
    net: str


class DrawdownOut(BaseModel):
    """`depth` is a share of the peak, or money. Times in broker wall clock, milliseconds."""

    depth: float
    peak_broker_time_msc: int
    trough_broker_time_msc: int
    recovered_broker_time_msc: int | None
    """None while the peak has not been reached again."""


class TradeFiguresOut(BaseModel):
    """Of closed trades, net of swap, commission and fees. None where a figure is not defined."""

    trades: int
    wins: int
    losses: int
    win_rate: float | None
    net: str
    gross_profit: str
    gross_loss: str
    profit_factor: float | None
    expectancy: str | None
    average_win: str | None
    average_loss: str | None
    payoff: float | None
    largest_win: str | None
    largest_loss: str | None
    longest_wins: StreakOut
    longest_losses: StreakOut
    sqn: float | None
    average_held_seconds: float | None
    volume: float
    """Lots."""
    swap: str
    commission: str
    drawdown: DrawdownOut | None
    """Of the summed results, in money."""


class AccountFiguresOut(BaseModel):
    """Of the whole account; shares are fractions, 0.01 is one per cent."""

    deposits: str
    withdrawals: str
    other_costs: str
    balance: str
    result: str
    gain: float | None
    yearly_gain: float | None
    absolute_drawdown: str
    max_drawdown: DrawdownOut | None
    relative_drawdown: DrawdownOut | None
    equity_drawdown: DrawdownOut | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None


class CurvePointOut(BaseModel):
    broker_time_msc: int
    value: str
    """Balance; the sum of results where only trades of a symbol or a bot are counted."""
    drawdown: float
    """Below the peak so far: a share, or money where only trades are counted."""


class GroupOut(BaseModel):
    key: str
    trades: int
    wins: int
    net: str
    volume: float


class BreakdownsOut(BaseModel):
    symbol: list[GroupOut]
    weekday: list[GroupOut]
    hour: list[GroupOut]
    month: list[GroupOut]
    direction: list[GroupOut]
    magic: list[GroupOut]


class StatisticsOut(BaseModel):
    currency: str | None
    trades: TradeFiguresOut
    account: AccountFiguresOut | None
    """None where only trades of a symbol or a bot are counted: a balance is the whole account's."""
    curve: list[CurvePointOut]
    breakdowns: BreakdownsOut


class DayOut(BaseModel):
    day: date
    """Of the broker's calendar."""
    result: str
    flow: str
    """Deposits less withdrawals."""
    trades: int
    balance: str | None
    """At its end; None where only trades of a symbol or a bot are counted."""
    gain: float | None


class CalendarOut(BaseModel):
    currency: str | None
    month: str
    items: list[DayOut]
    """Days with something on them, oldest first."""
