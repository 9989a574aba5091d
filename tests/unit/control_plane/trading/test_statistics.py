"""Statistics: hand-made books whose figures can be worked out on paper, and the naive calculation beside ours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.trading.ledger import DealFacts, balance_of
from control_plane.trading.statistics import figures
from control_plane.trading.statistics.curve import EquityAt, balance_curve, days_of, deepest, equity_growth, underwater
from control_plane.trading.statistics.trades import Bar, Excursion, Trade, excursion_of, trades_of
from tests.statistics.compare import differences
from tests.statistics.histories import history

DAY = 86_400_000
MONDAY = 19_786 * DAY
"""4 March 2024."""


def deal(ticket: int, entry: int = 0, kind: int = 0, **changes: Any) -> DealFacts:
    fields: dict[str, Any] = {
        "order": ticket,
        "time_msc": MONDAY + ticket * 1000,
        "magic": 0,
        "position_id": 1,
        "reason": 0,
        "volume": 1.0,
        "price": 1.0,
        "commission": Decimal(0),
        "swap": Decimal(0),
        "profit": Decimal(0),
        "fee": Decimal(0),
        "symbol": "EURUSD",
    }
    money: dict[str, Any] = {
        name: Decimal(changes[name]) for name in ("commission", "swap", "profit", "fee") if name in changes
    }
    return DealFacts(ticket=ticket, type=kind, entry=entry, **{**fields, **changes, **money})


def deposit(ticket: int, amount: str, **changes: Any) -> DealFacts:
    return deal(ticket, 0, 2, profit=amount, volume=0.0, price=0.0, symbol="", position_id=0, **changes)


def test_a_partial_close_takes_its_share_of_what_the_opening_cost() -> None:
    trades = trades_of(
        [
            deal(1, 0, 0, volume=0.3, price=1.1, commission="-3"),
            deal(2, 1, 1, volume=0.1, price=1.2, profit="10", commission="-1"),
            deal(3, 1, 1, volume=0.2, price=1.3, profit="40", swap="-0.5", fee="-0.1"),
        ]
    )
    assert [(trade.net, trade.long, trade.volume) for trade in trades] == [
        (Decimal(8), True, 0.1),
        (Decimal("37.4"), True, 0.2),
    ]
    assert [trade.held_seconds for trade in trades] == [1, 2]


def test_openings_of_a_netted_position_are_averaged_by_volume() -> None:
    trades = trades_of(
        [deal(1, volume=1.0, price=1.0), deal(2, volume=3.0, price=2.0), deal(3, 1, 1, volume=4.0, price=2.0)]
    )
    assert trades[0].price_open == pytest.approx(1.75)


def test_a_reversal_closes_and_opens_the_other_way() -> None:
    trades = trades_of(
        [
            deal(1, 0, 0, volume=1.0, price=1.0),
            deal(2, 2, 1, volume=3.0, price=1.5, profit="50", commission="-3", magic=9),
            deal(3, 1, 0, volume=2.0, price=1.0, profit="100"),
        ]
    )
    assert [(trade.long, trade.volume, trade.net, trade.price_open) for trade in trades] == [
        (True, 1.0, Decimal(49), 1.0),
        (False, 2.0, Decimal(98), 1.5),
    ]
    assert trades[1].magic == 9


def test_a_close_by_closes_two_positions() -> None:
    trades = trades_of(
        [
            deal(1, 0, 0, position_id=1),
            deal(2, 0, 1, position_id=2),
            deal(3, 3, 1, position_id=1, profit="5"),
            deal(4, 3, 0, position_id=2),
        ]
    )
    assert [(trade.position_id, trade.long, trade.net) for trade in trades] == [
        (1, True, Decimal(5)),
        (2, False, Decimal(0)),
    ]


def test_a_closing_without_a_known_opening_is_still_a_trade() -> None:
    [trade] = trades_of([deal(5, 1, 1, profit="7", price=1.4)])
    assert (trade.long, trade.net, trade.price_open, trade.held_seconds) == (True, Decimal(7), 1.4, 0)


def test_deposits_and_withdrawals_are_no_gain() -> None:
    curve = balance_curve(
        [
            deposit(1, "1000"),
            deal(2, 1, 1, profit="100"),
            deposit(3, "8900"),
            deal(4, 1, 1, profit="1000"),
            deposit(5, "-5500"),
        ]
    )
    assert curve[-1].growth == pytest.approx(1.1 * 1.1)
    assert (curve[-1].balance, curve[-1].result) == (Decimal(5500), Decimal(1100))


def test_credit_is_not_part_of_the_balance() -> None:
    deals = [deposit(1, "100"), deal(2, 0, 3, profit="50", position_id=0)]
    assert balance_of(deals) == balance_curve(deals)[-1].balance == Decimal(100)


def test_a_drawdown_has_its_dates_and_its_recovery() -> None:
    fall = deepest([(1, 100.0), (2, 80.0), (3, 90.0), (4, 100.0), (5, 60.0), (6, 99.0)], relative=True)
    assert fall is not None
    assert (fall.depth, fall.peak_msc, fall.trough_msc, fall.recovered_msc) == (0.4, 4, 5, None)
    assert deepest([(1, 1.0), (2, 2.0)], relative=False) is None
    shallow = deepest([(1, 100.0), (2, 60.0), (3, 101.0), (4, 100.0)], relative=False)
    assert shallow is not None
    assert (shallow.depth, shallow.recovered_msc) == (40.0, 3)
    assert underwater([(1, 100.0), (2, 80.0), (3, 120.0)]) == pytest.approx([0.0, 0.2, 0.0])


def test_open_positions_count_in_the_drawdown_of_equity() -> None:
    points = balance_curve([deposit(1, "1000"), deal(3, 1, 1, profit="100")])
    samples = [
        EquityAt(MONDAY + 1500, Decimal(1000), Decimal(1000)),
        EquityAt(MONDAY + 2000, Decimal(1000), Decimal(700)),
        EquityAt(MONDAY + 9000, Decimal(1100), Decimal(1100)),
    ]
    assert [value for _, value in equity_growth(points, samples)] == pytest.approx([1.0, 0.7, 1.1])


def test_days_hold_results_flows_and_closings() -> None:
    days = days_of(
        [
            deposit(1, "1000"),
            deal(2, 0, 0, commission="-10"),
            deal(3, 1, 1, profit="60", time_msc=MONDAY + DAY),
            deal(4, 1, 1, profit="-21", time_msc=MONDAY + DAY + 1),
        ]
    )
    assert [(each.result, each.flow, each.trades, each.balance) for each in days] == [
        (Decimal(-10), Decimal(1000), 0, Decimal(990)),
        (Decimal(39), Decimal(0), 2, Decimal(1029)),
    ]
    assert [each.growth for each in days] == pytest.approx([-0.01, 1029 / 990 - 1])


def trade(net: str, closed_msc: int = MONDAY, **changes: Any) -> Trade:
    fields: dict[str, Any] = {
        "position_id": 1, "closing_ticket": 1, "symbol": "EURUSD", "long": True, "volume": 0.5, "opened_msc": MONDAY,
        "closed_msc": closed_msc, "price_open": 1.0, "price_close": 1.1, "profit": Decimal(net), "swap": Decimal(0),
        "commission": Decimal(0), "magic": 0,
    }  # fmt: skip
    return Trade(**{**fields, **changes})


def test_key_figures_of_trades() -> None:
    found = figures.trade_figures([trade(net) for net in ("10", "20", "-5", "0", "-10", "-15", "6")])
    assert (found.trades, found.wins, found.losses) == (7, 3, 3)
    assert found.profit_factor == pytest.approx(36 / 30)
    assert found.longest_wins == figures.Streak(2, Decimal(30))
    assert found.longest_losses == figures.Streak(2, Decimal(-25))
    assert (found.largest_win, found.largest_loss, found.net) == (Decimal(20), Decimal(-15), Decimal(6))
    assert found.drawdown is not None
    assert found.drawdown.depth == 30.0


def test_what_has_no_value_has_none() -> None:
    nothing = figures.trade_figures([])
    assert (nothing.win_rate, nothing.profit_factor, nothing.sqn, nothing.expectancy) == (None, None, None, None)
    assert figures.trade_figures([trade("5")]).profit_factor is None
    assert figures.account_figures([], [], [], ()).gain is None
    assert figures.sharpe([0.01]) is None
    assert figures.sortino([0.01, 0.02]) is None


def test_breakdowns_follow_the_clock_of_the_broker() -> None:
    trades = [trade("1", MONDAY + 23 * 3_600_000), trade("2", MONDAY + DAY, long=False, symbol="XAUUSD", magic=7)]
    assert [(each.key, each.net) for each in figures.by_weekday(trades)] == [
        ("Monday", Decimal(1)),
        ("Tuesday", Decimal(2)),
    ]
    assert [each.key for each in figures.by_hour(trades)] == ["00", "23"]
    assert [each.key for each in figures.by_month(trades)] == ["2024-03"]
    assert [each.key for each in figures.by_direction(trades)] == ["long", "short"]
    assert [each.key for each in figures.by_magic(trades)] == ["0", "7"]
    assert [each.key for each in figures.by_symbol(trades)] == ["EURUSD", "XAUUSD"]


def test_excursions_come_from_bars_within_the_trade() -> None:
    bars = [Bar(MONDAY, MONDAY + 10, 1.3, 0.8), Bar(MONDAY + 10, MONDAY + 20, 9.0, 0.1)]
    found = excursion_of(trade("100", MONDAY + 15), bars)
    assert found is not None
    assert (found.adverse, found.favourable) == pytest.approx((0.2, 0.3))
    assert (found.adverse_money, found.favourable_money) == pytest.approx((200.0, 300.0))
    short = excursion_of(trade("-100", MONDAY + 15, long=False), bars)
    assert short is not None
    assert (short.adverse, short.favourable) == pytest.approx((0.3, 0.2))
    assert excursion_of(trade("100", MONDAY + 5), bars) is None
    flat = excursion_of(trade("0", MONDAY + 15, price_close=1.0), bars)
    assert isinstance(flat, Excursion)
    assert flat.adverse_money is None


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_a_naive_calculation(seed: int) -> None:
    for name, gap in differences(history(seed)):
        assert gap <= 1e-9, (name, gap)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_no_money_is_lost_between_deals_and_trades(seed: int) -> None:
    deals = history(seed)
    trades = trades_of(deals)
    traded = sum((each.amount for each in deals if each.type < 2), Decimal(0))
    closed = {each.position_id for each in trades}
    # What openings cost whose position is still open, wholly or in part, has not reached a trade yet.
    waiting = traded - sum((each.net for each in trades), Decimal(0))
    costs = [each.commission + each.fee for each in deals if each.type < 2 and each.entry in (0, 2)]
    assert sum(costs, Decimal(0)) - Decimal("1e-9") <= waiting <= Decimal("1e-9")
    assert closed <= {each.position_id for each in deals}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 900))
def test_a_deposit_more_changes_the_balance_and_not_the_results(seed: int, amount: int) -> None:
    deals = history(seed)
    more = [*deals, deposit(10**9, str(amount), time_msc=max(each.time_msc for each in deals) + 1)]
    before, after = balance_curve(deals)[-1], balance_curve(more)[-1]
    assert (after.result, after.growth) == (before.result, before.growth)
    assert after.balance == before.balance + amount
