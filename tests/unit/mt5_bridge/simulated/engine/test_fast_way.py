"""The fast ways through ticks give what the plain way gives, whatever happens: tickets, times, prices, money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_bridge.simulated.engine import views
from mt5_bridge.simulated.engine.conventions import Conventions
from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import MARGIN_HEDGING, MARGIN_NETTING, SO_MONEY, Account, Quote, Reason, State
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.calendar import ALWAYS, DAY
from mt5_bridge.simulated.symbols import EXCH_STOCKS, EXCHANGE_EXECUTION, SWAP_POINTS, SymbolSpec, specification
from mt5_bridge.structs import TICKS_DTYPE
from tests.benchmarks.engine import ours, scene
from tests.plain_exchange import PlainExchange
from tests.trading_desk import MONDAY_NOON

POINTS = {"EURUSD": 110_000, "USDJPY": 150_000, "EURJPY": 165_000, "GBPUSD": 127_000, "ACME": 10_000}
SPREAD = 12


def _specs() -> dict[str, SymbolSpec]:
    names = [name for name in POINTS if name != "ACME"]
    specs = {name: replace(specification(name), sessions=ALWAYS, margin_rate_pending=0.5) for name in names}
    specs["EURUSD"] = specification("EURUSD")  # has a weekend
    specs["GBPUSD"] = replace(specs["GBPUSD"], variation_margin=True)
    swap: dict[str, Any] = {"swap_mode": SWAP_POINTS, "swap_long": -80.0, "swap_short": -40.0}
    specs["USDJPY"] = replace(specs["USDJPY"], **swap, commission=3.0, liquidity=0.7)
    specs["ACME"] = SymbolSpec(
        "ACME",
        "A stock",
        "ACME",
        2,
        1.0,
        "USD",
        "USD",
        "USD",
        calc_mode=EXCH_STOCKS,
        execution=EXCHANGE_EXECUTION,
        filling_mode=7,
        sessions=ALWAYS,
    )
    return specs


def _accounts() -> list[tuple[Account, float]]:
    return [
        (Account(1, "one", "USD", 200, limit_orders=0), 900.0),
        (Account(2, "two", "EUR", 300, margin_mode=MARGIN_NETTING), 500.0),
        (Account(3, "three", "JPY", 500, currency_digits=0, margin_mode=MARGIN_HEDGING, margin_so_so=80.0), 60_000.0),
        (Account(4, "four", "USD", 100, margin_so_mode=SO_MONEY, margin_so_so=300.0), 800.0),
    ]


@dataclass(frozen=True)
class Ticks:
    """Ticks of some symbols and the time that passes with them."""

    batch: dict[str, Array]
    until_msc: int


Step = Ticks | tuple[int, dict[str, Any]]


class Script:
    """A course of business, told step by step: prices walk, and accounts ask for things around them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._points = dict(POINTS)
        self._now_msc = MONDAY_NOON * 1000
        self._specs = _specs()

    def steps(self, count: int) -> Iterator[Step]:
        """So many steps."""
        for _ in range(count):
            yield self._ticks() if self._random.random() < 0.3 else self._wish()

    def _ticks(self) -> Ticks:
        random = self._random
        numbers = np.random.default_rng(random.randrange(2**32))
        names = random.sample(list(POINTS), random.randint(1, len(POINTS)))
        span = random.choice((1_000, 60_000, 3_600_000, 2 * DAY * 1000))
        batch = {}
        for name in names:
            count = random.randint(1, 120)
            ticks = np.zeros(count, TICKS_DTYPE)
            # Several ticks share a moment, of one symbol and of several.
            moments = np.sort(numbers.integers(0, max(2, span // 250), count)) * 250
            walk = self._points[name] + np.cumsum(numbers.integers(-1, 2, count) * random.choice((3, 30, 120)))
            scale = 10 ** self._specs[name].digits
            ticks["time_msc"] = self._now_msc + moments
            ticks["bid"] = walk / scale
            ticks["ask"] = (walk + numbers.integers(0, 2 * SPREAD, count)) / scale
            if name == "ACME":
                ticks["last"] = np.where(numbers.random(count) < 0.7, walk + numbers.integers(-9, 9, count), 0) / scale
            self._points[name] = int(walk[-1])
            batch[name] = ticks
        self._now_msc += span + random.choice((0, 1, 250))
        return Ticks(batch, self._now_msc)

    def _wish(self) -> Step:
        random = self._random
        name = random.choice(list(POINTS))
        scale = 10 ** self._specs[name].digits
        price = self._points[name]
        kind = random.randint(0, 7)
        side = 1 if kind % 2 == 0 else -1
        gap = random.choice((20, 150, 900))
        volume = random.choice((1.0, 5.0, 12.0)) if name == "ACME" else random.choice((0.05, 0.3, 0.9))
        stops = {"sl": (price - side * 3 * gap) / scale, "tp": (price + side * 2 * gap) / scale}
        wish: dict[str, Any] = {"symbol": name, "type": kind, "volume": volume, "type_filling": random.randint(0, 2)}
        wish |= stops if random.random() < 0.6 else {}
        if kind < 2:
            return self._account(), wish | {"action": 1, "position": self._position()}
        below = kind in (2, 5, 7)
        wish["price"] = (price - gap if below else price + gap + SPREAD) / scale
        if kind > 5:
            wish["stoplimit"] = wish["price"] - side * 15 / scale
        wish["sl"] = wish["tp"] = 0.0
        lifetime = random.randint(0, 3)
        wish |= {"action": 5, "type_time": lifetime}
        if lifetime > 1:
            wish["expiration"] = self._now_msc // 1000 + random.choice((5, 700, 2 * DAY))
        return self._account(), wish

    def _account(self) -> int:
        return self._random.randint(1, 4)

    def _position(self) -> int:
        """Mostly a new one, else a guess at one that may be open."""
        return 0 if self._random.random() < 0.7 else 1_000_001 + self._random.randint(0, 30)


def _exchange(kind: type[Exchange], conventions: Conventions) -> Exchange:
    exchange = kind(_specs(), [], MONDAY_NOON * 1000, conventions)
    for name, points in POINTS.items():
        scale = 10 ** exchange.book.specs[name].digits
        last = points / scale if name == "ACME" else 0.0
        exchange.set_quote(name, Quote(points / scale, (points + SPREAD) / scale, MONDAY_NOON * 1000, last))
    for account, deposit in _accounts():
        exchange.open_account(account, deposit)
    return exchange


def _facts(exchange: Exchange) -> tuple[Any, ...]:
    book = exchange.book
    return book.now_msc, dict(book.quotes), [
        (
            views.account_info(book, account, "", ""),
            views.positions(book, account, {}),
            views.orders(book, account, {}),
            tuple(account.history),
            tuple(account.deals),
        )
        for account in book.accounts.values()
    ]  # fmt: skip


def _assert_same(random: Random, count: int, conventions: Conventions) -> Exchange:
    plain, batched, single = (_exchange(kind, conventions) for kind in (PlainExchange, Exchange, Exchange))
    for number, step in enumerate(Script(random).steps(count)):
        if isinstance(step, Ticks):
            plain.advance(step.batch, step.until_msc)
            batched.advance(step.batch, step.until_msc)
            for _ in single.ticks(step.batch):
                pass
            single.pass_time(step.until_msc)
        else:
            login, wish = step
            results = [one.send(login, Request.of(wish), number) for one in (plain, batched, single)]
            assert results[0] == results[1] == results[2]
        expected = _facts(plain)
        assert _facts(batched) == expected
        assert _facts(single) == expected
    return plain


CONVENTIONS = st.builds(
    Conventions,
    stop_out_at_equal=st.booleans(),
    stop_out_of_hedged=st.booleans(),
    compensate_negative_balance=st.booleans(),
    margin_rate_side=st.sampled_from(["deal", "other"]),
    limits_improve=st.booleans(),
    stops_slip=st.booleans(),
    reached_without_volume=st.sampled_from(["waits", "canceled"]),
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), conventions=CONVENTIONS)
def test_batches_and_single_ticks_end_as_the_plain_way_does(seed: int, conventions: Conventions) -> None:
    _assert_same(Random(seed), 40, conventions)


def test_the_benchmark_s_ways_end_alike() -> None:
    ticks = scene.synthetic_ticks(2_000)
    outcomes = [ours.measure(ticks, way)[1] for way in ("batch", "single", "account_each", "everything_each")]
    assert outcomes[1:] == outcomes[:1] * 3
    assert outcomes[0]["positions"] == outcomes[0]["orders"] == scene.COUNT


@pytest.fixture(scope="module")
def happened() -> Counter[str]:
    """How often what happened in some long courses of business, all three ways agreeing."""
    counted: Counter[str] = Counter()
    for seed in range(12):
        exchange = _assert_same(Random(seed), 120, Conventions())
        for account in exchange.book.accounts.values():
            counted.update(f"deal {Reason(one.reason).name}" for one in account.deals)
            counted.update(f"order {State(one.state).name}" for one in account.history)
            counted.update("swap" for one in account.deals if one.swap)
    return counted


@pytest.mark.parametrize(
    "what",
    ["deal SL", "deal TP", "deal SO", "order FILLED", "order EXPIRED", "order REJECTED", "order CANCELED", "swap"],
)
def test_the_comparison_has_met_everything_that_ticks_can_do(happened: Counter[str], what: str) -> None:
    assert happened[what] >= 5, happened
