"""An account's state is the sum of its positions' profits, each rounded on its own (rules U1, H1)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import Account, Position, Quote
from mt5_bridge.simulated.engine.sums import cents
from mt5_bridge.simulated.symbols import specification
from tests.trading_desk import MONDAY_NOON

NAMES = ("EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "DE40")
PRICES = {"EURUSD": 1.1, "GBPUSD": 1.27, "USDJPY": 150.0, "XAUUSD": 2400.0, "DE40": 18_000.0}
HELD = st.tuples(
    st.sampled_from(NAMES),
    st.booleans(),
    st.sampled_from([0.01, 0.03, 0.1, 1.37]),
    st.integers(-4000, 4000),
    st.sampled_from([0.0, -1.23]),
)


def _quotes(book: Book, moves: dict[str, int]) -> None:
    for name, price in PRICES.items():
        bid = round(price + moves.get(name, 0) * book.specs[name].point, book.specs[name].digits)
        book.set_quote(name, Quote(bid, bid + 3 * book.specs[name].point, MONDAY_NOON * 1000))


def _expected(book: Book, account: Account) -> tuple[float, float, float]:
    profit = sum(book.valuation.floating(account, one)[1] for one in account.positions.values())
    swap = sum(one.swap for one in account.positions.values())
    margin = book.valuation.margin(account.positions.values())
    return account.money(profit), account.money(account.balance + account.credit + profit + swap), account.money(margin)


@settings(max_examples=150, deadline=None)
@given(
    held=st.lists(HELD, max_size=12),
    moves=st.lists(st.dictionaries(st.sampled_from(NAMES), st.integers(-3000, 3000)), min_size=1, max_size=4),
    currency=st.sampled_from([("USD", 2), ("EUR", 2), ("JPY", 0), ("USD", 3)]),
)
def test_the_state_is_the_sum_of_single_profits(
    held: list[tuple[str, bool, float, int, float]], moves: list[dict[str, int]], currency: tuple[str, int]
) -> None:
    account = Account(1, "", currency[0], 100, balance=1234.5, credit=10.0, currency_digits=currency[1])
    specs = {name: specification(name) for name in NAMES}
    specs["GBPUSD"] = replace(specs["GBPUSD"], contract_size=50_000.0)  # a point of 0.01 lots is half a cent
    book = Book(specs, [account], MONDAY_NOON * 1000)
    _quotes(book, {})
    for ticket, (name, buy, volume, points, swap) in enumerate(held):
        opened = round(PRICES[name] + points * book.specs[name].point, book.specs[name].digits)
        margin = book.valuation.margin_per_lot(account, book.specs[name], opened, buy=buy)
        fields = (ticket, 1, name, buy, volume, opened, 0.0, 0.0, 0, "", 0, ticket, margin, 0, 0)
        book.put_position(Position(*fields, swap=swap))
        assert tuple(book.valuation.state(account)) == _expected(book, account)
    for move in moves:
        _quotes(book, move)
        assert tuple(book.valuation.state(account)) == _expected(book, account)
    for position in list(account.positions.values())[::2]:
        book.drop_position(position)
        assert tuple(book.valuation.state(account)) == _expected(book, account)


def test_a_symbol_that_is_laid_down_anew_is_valued_anew() -> None:
    account = Account(1, "", "USD", 100, balance=1000.0)
    book = Book({"EURUSD": specification("EURUSD")}, [account], MONDAY_NOON * 1000)
    book.set_quote("EURUSD", Quote(1.1, 1.1001, 0))
    book.put_position(Position(1, 1, "EURUSD", True, 0.1, 1.0, 0.0, 0.0, 0, "", 0, 1, 10.0, 0, 0))
    assert book.valuation.state(account).profit == 1000.0
    book.set_spec(replace(book.specs["EURUSD"], contract_size=50_000.0))
    assert book.valuation.state(account).profit == 500.0


def test_a_position_without_quotes_is_worth_nothing() -> None:
    account = Account(1, "", "USD", 100, balance=1000.0)
    book = Book({"EURUSD": specification("EURUSD")}, [account], MONDAY_NOON * 1000)
    book.put_position(Position(1, 1, "EURUSD", True, 0.1, 1.0, 0.0, 0.0, 0, "", 0, 1, 10.0, 0, 0))
    assert book.valuation.state(account)[:2] == (0.0, 1000.0)


@settings(max_examples=500)
@given(value=st.one_of(st.floats(-1e9, 1e9), st.integers(-(10**8), 10**8).map(lambda whole: whole / 1000)))
@example(1.005)
@example(2.675)
@example(1.145)
def test_cents_are_what_rounding_to_two_digits_gives(value: float) -> None:
    assert cents(value) / 100.0 == round(value, 2)
