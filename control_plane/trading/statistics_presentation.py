"""Statistics as the owner of the account sees them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from control_plane.money import money_text
from control_plane.trading.statistics.curve import Day, Drawdown
from control_plane.trading.statistics.figures import AccountFigures, Group, Streak, TradeFigures
from control_plane.trading.statistics.report import CurvePoint, Report
from control_plane.trading.statistics_schemas import (
    AccountFiguresOut,
    BreakdownsOut,
    CurvePointOut,
    DayOut,
    DrawdownOut,
    GroupOut,
    StatisticsOut,
    StreakOut,
    TradeFiguresOut,
)


def present_report(found: Report, currency: str | None) -> StatisticsOut:
    return StatisticsOut(
        currency=currency,
        trades=_trades(found.trades),
        account=None if found.account is None else _account(found.account),
        curve=[_point(each) for each in found.curve],
        breakdowns=BreakdownsOut(**{name: [_group(each) for each in rows] for name, rows in found.groups.items()}),
    )


def present_days(days: Sequence[Day], *, whole_account: bool) -> list[DayOut]:
    return [
        DayOut(
            day=each.day,
            result=money_text(each.result),
            flow=money_text(each.flow),
            trades=each.trades,
            balance=money_text(each.balance) if whole_account else None,
            gain=each.growth if whole_account else None,
        )
        for each in days
    ]


def _trades(found: TradeFigures) -> TradeFiguresOut:
    return TradeFiguresOut(
        trades=found.trades,
        wins=found.wins,
        losses=found.losses,
        win_rate=found.win_rate,
        net=money_text(found.net),
        gross_profit=money_text(found.gross_profit),
        gross_loss=money_text(found.gross_loss),
        profit_factor=found.profit_factor,
        expectancy=_text(found.expectancy),
        average_win=_text(found.average_win),
        average_loss=_text(found.average_loss),
        payoff=found.payoff,
        largest_win=_text(found.largest_win),
        largest_loss=_text(found.largest_loss),
        longest_wins=_streak(found.longest_wins),
        longest_losses=_streak(found.longest_losses),
        sqn=found.sqn,
        average_held_seconds=found.average_held_seconds,
        volume=found.volume,
        swap=money_text(found.swap),
        commission=money_text(found.commission),
        drawdown=_drawdown(found.drawdown),
    )


def _account(found: AccountFigures) -> AccountFiguresOut:
    return AccountFiguresOut(
        deposits=money_text(found.deposits),
        withdrawals=money_text(found.withdrawals),
        other_costs=money_text(found.other_costs),
        balance=money_text(found.balance),
        result=money_text(found.result),
        gain=found.gain,
        yearly_gain=found.yearly_gain,
        absolute_drawdown=money_text(found.absolute_drawdown),
        max_drawdown=_drawdown(found.max_drawdown),
        relative_drawdown=_drawdown(found.relative_drawdown),
        equity_drawdown=_drawdown(found.equity_drawdown),
        sharpe=found.sharpe,
        sortino=found.sortino,
        calmar=found.calmar,
    )


def _drawdown(found: Drawdown | None) -> DrawdownOut | None:
    if found is None:
        return None
    return DrawdownOut(
        depth=found.depth,
        peak_broker_time_msc=found.peak_msc,
        trough_broker_time_msc=found.trough_msc,
        recovered_broker_time_msc=found.recovered_msc,
    )


def _point(each: CurvePoint) -> CurvePointOut:
    return CurvePointOut(broker_time_msc=each.msc, value=money_text(each.value), drawdown=each.drawdown)


def _group(each: Group) -> GroupOut:
    return GroupOut(key=each.key, trades=each.trades, wins=each.wins, net=money_text(each.net), volume=each.volume)


def _streak(each: Streak) -> StreakOut:
    return StreakOut(length=each.length, net=money_text(each.net))


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else money_text(amount)
