"""No prices inside of an account's zone bring it to its stop out."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.conventions import Conventions
from mt5_bridge.simulated.engine.model import SO_MONEY, SO_PERCENT, Account, Kind, Order, Position, Quote
from mt5_bridge.simulated.engine.safety import safe_zone
from mt5_bridge.simulated.engine.stop_out import is_under_stop_out
from mt5_bridge.simulated.symbols import specification
from tests.trading_desk import MONDAY_NOON

PRICES = {"EURUSD": 1.1, "USDJPY": 150.0, "GBPUSD": 1.27, "EURJPY": 165.0, "XAUUSD": 2400.0, "DE40": 18_000.0}


def _book(random: Random, account: Account) -> Book:
    specs = {name: replace(specification(name), margin_rate_pending=random.choice((0.0, 1.0))) for name in PRICES}
    book = Book(specs, [], MONDAY_NOON * 1000, Conventions(stop_out_of_hedged=random.random() < 0.5))
    for name, price in PRICES.items():
        book.set_quote(name, Quote(price, price * 1.0002, MONDAY_NOON * 1000))
    book.add_account(account)
    return book


def _holdings(random: Random, book: Book, account: Account) -> None:
    for ticket in range(random.randint(1, 5)):
        name, buy, volume = random.choice(list(PRICES)), random.random() < 0.5, random.choice((0.01, 0.1, 0.4))
        opened = PRICES[name] * random.uniform(0.97, 1.03)
        margin = book.valuation.margin_per_lot(account, book.specs[name], opened, buy=buy)
        fields = (ticket, account.login, name, buy, volume, opened, 0.0, 0.0, 0, "", 0, ticket, margin, 0, 0)
        book.put_position(Position(*fields, swap=random.choice((0.0, -3.21))))
    for ticket in range(100, 100 + random.randint(0, 2)):
        name, kind = random.choice(list(PRICES)), random.choice((Kind.BUY_LIMIT, Kind.SELL_LIMIT))
        price, at = PRICES[name] * 0.9, (0.0, 0.0, 0.0, 0, 0, 0, 0, "", 0, 0)
        book.put_order(Order(ticket, account.login, name, kind, 0.1, price, *at))


def _inside(random: Random, low: float, high: float, now: float) -> float:
    """A price between two levels, mostly at one of them; beyond what does not matter it may be anything."""
    low, high = (now * 0.2 if low == -math.inf else low), (now * 5.0 if high == math.inf else high)
    edge = random.random()
    if edge < 0.7:
        return math.nextafter(low, high) if edge < 0.35 else math.nextafter(high, low)
    return min(max(random.uniform(low, high), math.nextafter(low, high)), math.nextafter(high, low))


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), currency=st.sampled_from(["USD", "EUR", "JPY", "GBP"]))
def test_no_prices_inside_a_zone_reach_the_stop_out(seed: int, currency: str) -> None:
    random = Random(seed)
    mode = random.choice((SO_PERCENT, SO_MONEY))
    account = Account(1, "", currency, random.choice((30, 500)), margin_so_mode=mode)
    account.margin_so_so = random.choice((0.0, 30.0, 120.0)) if mode == SO_PERCENT else random.choice((0.0, 500.0))
    account.balance = random.choice((1_000.0, 9_000.0)) * (150.0 if currency == "JPY" else 1.0)
    book = _book(random, account)
    _holdings(random, book, account)
    zone = safe_zone(book, account)
    if zone is None:
        return
    for _ in range(40):
        for name, price in PRICES.items():
            if name in zone:
                levels = zone[name]
                bid = _inside(random, levels.bid_low, levels.bid_high, price)
                ask = _inside(random, levels.ask_low, levels.ask_high, price)
            else:
                bid, ask = price * random.uniform(0.2, 5.0), price * random.uniform(0.2, 5.0)
            book.quotes[name] = Quote(bid, ask, 0)
        assert not is_under_stop_out(book, account, book.valuation.state(account))


def test_a_zone_spans_most_of_the_way_to_the_stop_out() -> None:
    account = Account(1, "", "USD", 100, balance=1_000.0)
    book = _book(Random(1), account)
    margin = book.valuation.margin_per_lot(account, book.specs["EURUSD"], 1.1, buy=True)
    book.put_position(Position(1, 1, "EURUSD", True, 0.5, 1.1, 0.0, 0.0, 0, "", 0, 1, margin, 0, 0))
    zone = safe_zone(book, account)
    # Margin 550, stop out at 165: 835 may be lost, 0.0167 of the price.
    assert zone is not None
    assert set(zone) == {"EURUSD"}
    assert 1.1 - 0.0167 < zone["EURUSD"].bid_low < 1.1 - 0.0155
    assert zone["EURUSD"].bid_high == zone["EURUSD"].ask_high == math.inf


def test_there_is_no_zone_without_a_quote_that_money_depends_on() -> None:
    account = Account(1, "", "USD", 100, balance=1_000.0)
    book = _book(Random(1), account)
    book.put_position(Position(1, 1, "EURJPY", True, 0.01, 165.0, 0.0, 0.0, 0, "", 0, 1, 10.0, 0, 0))
    assert safe_zone(book, account) is not None
    del book.quotes["USDJPY"]
    assert safe_zone(book, account) is None


def test_margin_that_orders_reserve_grows_with_the_rate_that_converts_it() -> None:
    account = Account(1, "", "USD", 100, balance=2_200.0, margin_so_so=120.0)
    book = _book(Random(1), account)
    book.set_spec(replace(book.specs["DE40"], margin_rate_pending=1.0))
    at = (0.0, 0.0, 0.0, 0, 0, 0, 0, "", 0, 0)
    book.put_order(Order(2, 1, "DE40", Kind.BUY_LIMIT, 10.0, 16_200.0, *at))
    book.put_position(Position(1, 1, "XAUUSD", True, 0.0001, 2400.0, 0.0, 0.0, 0, "", 0, 1, 0.01, 0, 0))
    zone = safe_zone(book, account)
    assert zone is not None
    # 1620 EUR of margin at 120 %: 2200 USD are enough for no more than 1.1317 USD for one EUR.
    assert 1.125 < zone["EURUSD"].ask_high < 1.1317
