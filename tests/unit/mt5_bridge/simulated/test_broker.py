"""The broker over its store: durable answers, restarts, the clock's jumps, logins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt5_bridge.simulated.broker import Access, Broker, BrokerError
from mt5_bridge.simulated.market.bars import minute_bars
from mt5_bridge.simulated.market.clock import FASTEST
from mt5_bridge.simulated.market.market import Market, NothingMore
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.market.synthetic import synthetic_market, tick_flags
from mt5_bridge.simulated.store import Store
from mt5_bridge.simulated.symbols import specification
from mt5_bridge.structs import TICKS_DTYPE

MONDAY = 1_758_499_200
BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}


class House:
    """A data folder whose broker can be stopped dead and started again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "broker.sqlite3"
        self.store: Store | None = None

    def open(self, market: Market | None = None, wall: float = 0.0) -> Broker:
        """Start a broker on the folder's books at 60 times the speed of life."""
        if self.store is not None:
            self.store.close()
        self.store = Store(self.path)
        clock = self.store.meta("clock")
        market = market or synthetic_market(["EURUSD"], 1, MONDAY, None if clock is None else int(clock))
        return Broker(market, self.store, server="Demo", speed=60.0, wall=wall)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose files are closed in the end."""
    house = House(tmp_path)
    yield house
    if house.store is not None:
        house.store.close()


def _account(broker: Broker) -> int:
    return broker.create_account(0, "secret", 10_000.0, "USD", 100, "Somebody")


def test_everything_that_was_answered_survives_a_sudden_end(house: House) -> None:
    broker = house.open()
    login = _account(broker)
    broker.advance(60.0)
    opened = broker.send(login, "s", 1, 1, BUY | {"sl": 0.5, "comment": "mine"})
    broker.send(login, "s", 2, 2, {"action": 5, "symbol": "EURUSD", "volume": 0.2, "type": 2, "price": 0.6})
    before = broker.book.accounts[login]
    after = house.open(wall=1000.0).book
    assert after.accounts[login] == before
    assert after.accounts[login].positions[opened.order].comment == "mine"
    assert after.now_msc == broker.book.now_msc
    assert after.quotes == broker.book.quotes


def test_ticket_numbers_go_on_after_a_restart(house: House) -> None:
    broker = house.open()
    login = _account(broker)
    broker.advance(60.0)
    first = broker.send(login, "s", 1, 1, BUY)
    second = house.open().send(login, "t", 1, 1, BUY)
    assert (second.order, second.deal) == (first.order + 1, first.deal + 1)


def test_a_request_is_executed_once_and_keeps_its_answer_across_restarts(house: House) -> None:
    broker = house.open()
    login = _account(broker)
    broker.advance(60.0)
    result = broker.send(login, "s", 7, 1, BUY)
    assert broker.send(login, "s", 7, 1, BUY) == result
    again = house.open()
    assert again.send(login, "s", 7, 1, BUY) == result
    assert again.outcome("s", 7) == result
    assert again.outcome("s", 8) is None
    assert len(again.book.accounts[login].positions) == 1


def test_accounts_are_opened_once(house: House) -> None:
    broker = house.open()
    login = _account(broker)
    assert login == 5001
    assert broker.create_account(login, "other", 99.0, "EUR", 1, "") == login
    assert (broker.book.accounts[login].balance, broker.book.accounts[login].currency) == (10_000.0, "USD")
    assert broker.access(login, "other", "Demo") is Access.MASTER
    assert broker.access(login, "secret", "Demo") is None
    assert broker.access(login, "other", "Elsewhere") is None
    assert broker.access(4, "other", "Demo") is None
    assert b"secret" not in house.path.read_bytes()


def test_another_market_is_not_put_under_the_same_books(house: House) -> None:
    house.open()
    with pytest.raises(BrokerError, match="another market"):
        house.open(synthetic_market(["EURUSD"], 2, MONDAY))


def test_a_second_broker_on_the_same_books_fails(house: House) -> None:
    house.open()
    with pytest.raises(Exception, match="locked"):
        Store(house.path)


def _short_market(*seconds: int) -> Market:
    ticks = np.zeros(len(seconds), TICKS_DTYPE)
    ticks["time"] = MONDAY + np.array(seconds)
    ticks["time_msc"] = ticks["time"] * 1000
    ticks["bid"], ticks["ask"] = 1.1 + np.arange(len(seconds)) / 1000, 1.2
    ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
    series: dict[str, Any] = {"EURUSD": Series(1e-5, ticks, minute_bars(ticks, 1e-5))}
    return Market([specification("EURUSD")], series, NothingMore(), MONDAY * 1000, "short")


def test_the_clock_jumps_over_hours_without_ticks(house: House) -> None:
    broker = house.open(_short_market(0, 30, 7200 + 30))
    broker.advance(0.4)
    assert broker.book.now_msc == (MONDAY + 24) * 1000
    broker.advance(0.6)
    assert broker.book.now_msc == (MONDAY + 36) * 1000
    broker.advance(0.7)
    assert broker.book.now_msc == (MONDAY + 7230) * 1000


def test_at_the_end_of_a_replay_nothing_is_quoted_or_traded(house: House) -> None:
    broker = house.open(_short_market(0, 30))
    login = _account(broker)
    broker.advance(1.0)
    broker.advance(2.0)
    assert broker.ended
    assert broker.status({})["ended"] is True
    assert broker.send(login, "s", 1, 1, BUY).retcode == 10018
    broker.advance(100.0)
    assert broker.book.now_msc == (MONDAY + 60) * 1000


def test_a_paused_market_moves_only_when_it_is_stepped(house: House) -> None:
    broker = house.open(_short_market(0, 30, 31, 500))
    with pytest.raises(BrokerError, match="Pause"):
        broker.step(0.0, ticks=1)
    broker.clock.pause(0.1)
    broker.advance(50.0)
    assert broker.book.quotes["EURUSD"].time_msc == MONDAY * 1000
    assert broker.step(51.0, ticks=1) == (MONDAY + 30) * 1000
    assert broker.book.quotes["EURUSD"].bid == pytest.approx(1.101)
    assert broker.step(52.0, milliseconds=60_000) == (MONDAY + 90) * 1000
    assert broker.book.quotes["EURUSD"].bid == pytest.approx(1.102)
    broker.clock.resume(60.0)
    broker.advance(60.1)
    assert (MONDAY + 90) * 1000 < broker.book.now_msc < (MONDAY + 100) * 1000


def test_stepping_acts_on_orders_as_running_does(house: House) -> None:
    broker = house.open(_short_market(0, 30, 60, 90))
    login = _account(broker)
    broker.clock.pause(0.0)
    broker.send(login, "s", 1, 1, {**BUY, "tp": 1.102, "volume": 0.01})
    assert len(broker.book.accounts[login].positions) == 1
    broker.step(0.0, ticks=1)
    assert len(broker.book.accounts[login].positions) == 1
    broker.step(0.0, ticks=1)
    assert not broker.book.accounts[login].positions


def test_stepping_ends_with_the_history(house: House) -> None:
    broker = house.open(_short_market(0, 30))
    broker.clock.pause(0.0)
    assert broker.step(0.0, ticks=100) == (MONDAY + 30) * 1000
    assert broker.ended


def test_as_fast_as_possible_reaches_the_end_without_skipping_ticks(house: House) -> None:
    broker = house.open(_short_market(*range(0, 40_000, 7)))
    broker.clock.set_speed(FASTEST, 0.0)
    wall = 0.0
    while not broker.ended:
        assert broker.advance(wall) in (0.0, 1.0)
        wall += 0.001
    assert broker.book.quotes["EURUSD"].time_msc == (MONDAY + 39_998) * 1000
