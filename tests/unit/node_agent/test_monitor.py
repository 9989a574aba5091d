"""The watch over one terminal goes on, whatever happens to what it collects."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.client import BridgeError
from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import TradeDeal
from node_agent.bridge import Bridge, Target
from node_agent.clock import as_datetime
from node_agent.collector import Collector
from node_agent.database import Database
from node_agent.errors import StorageError
from node_agent.layout import TerminalLayout
from node_agent.monitor import Monitor, MonitorParts
from node_agent.observation import Link, Probe
from node_agent.protocol.messages import DealBody
from node_agent.spool import Spool


class ConnectingTerminal:
    """A worker whose terminal has no session with its broker yet."""

    def pulse(self, deals_from: int) -> Mapping[str, Any]:
        facts = {"wrong_account": False, "linked": True, "error_code": 1, "journal_sequence": 1}
        return facts | {"terminal": True, "account": None}

    def configure(self, configuration: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def journal(self, after_sequence: int, limit: int) -> Sequence[Mapping[str, Any]]:
        return ()

    def history_deals_get(self, date_from: int, date_to: int) -> Any:
        return ()

    def history_orders_get(self, date_from: int, date_to: int) -> Any:
        return ()

    def positions_get(self) -> Any:
        return ()

    def close(self) -> None:
        pass


class FullDisk(Collector):
    def collect_journal(self, bridge: Bridge, target: Target, newest_sequence: int) -> int:
        raise StorageError("the disk is full")


class Garbage(Collector):
    def collect_bot_logs(self, target: Target, bot_ids: list[str]) -> int:
        raise RecursionError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "agent.sqlite3")
    yield made
    made.close()


@pytest.mark.parametrize("kind", [FullDisk, Garbage])
def test_the_terminal_is_asked_again_and_again_although_nothing_can_be_collected(
    database: Database, tmp_path: Path, kind: type[Collector]
) -> None:
    seen: list[Probe] = []
    target = Target("ter_0000000000000001", "acc_0000000000000001", 1, 7, "Demo", TerminalLayout(tmp_path, tmp_path))
    parts = MonitorParts(
        lambda _: ConnectingTerminal(), kind(database, time.time), time.time, as_datetime, interval=0.01
    )
    monitor = Monitor(target, parts, seen.append, list)
    monitor.start()
    try:
        deadline = time.monotonic() + 5
        while len(seen) < 3:
            assert time.monotonic() < deadline, "the terminal is no longer asked"
            time.sleep(0.01)
    finally:
        monitor.stop()
    assert {probe.link for probe in seen} == {Link.CONNECTING}
    assert monitor.disk_error == ("the disk is full" if kind is FullDisk else None)


def test_an_answer_counts_from_the_question_since_what_it_tells_of_may_have_ended_meanwhile(
    database: Database, tmp_path: Path
) -> None:
    clock, seen = [100.0], list[Probe]()

    class SlowTerminal(ConnectingTerminal):
        def pulse(self, deals_from: int) -> Mapping[str, Any]:
            clock[0] += 5.0
            return super().pulse(deals_from)

    target = Target("ter_0000000000000001", "acc_0000000000000001", 1, 7, "Demo", TerminalLayout(tmp_path, tmp_path))
    parts = MonitorParts(
        lambda _: SlowTerminal(), Collector(database, time.time), lambda: clock[0], as_datetime, interval=3600.0
    )
    monitor = Monitor(target, parts, seen.append, list)
    monitor.start()
    try:
        deadline = time.monotonic() + 5
        while not seen:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        monitor.stop()
    assert seen[0].at == 100.0


@pytest.mark.parametrize(("code", "beginnings"), [("hello_timeout", 1), ("busy", 4)])
def test_a_worker_that_takes_connections_and_says_nothing_counts_as_one_long_wait(
    database: Database, tmp_path: Path, code: str, beginnings: int
) -> None:
    begun: list[float | None] = []
    ticks = itertools.count()

    def connect(_: Target) -> Bridge:
        begun.append(monitor.busy_since)
        raise BridgeError(code, "no", retryable=True)

    target = Target("ter_0000000000000001", "acc_0000000000000001", 1, 7, "Demo", TerminalLayout(tmp_path, tmp_path))
    parts = MonitorParts(
        connect, Collector(database, time.time), lambda: float(next(ticks)), as_datetime, interval=0.01
    )
    monitor = Monitor(target, parts, lambda _: None, list)
    monitor.start()
    try:
        deadline = time.monotonic() + 5
        while len(begun) < 4:
            assert time.monotonic() < deadline, "the worker is no longer asked"
            time.sleep(0.01)
    finally:
        monitor.stop()
    assert len(set(begun[:4])) == beginnings


class TradingTerminal(ConnectingTerminal):
    """An account with deals; `asked_from` are the beginnings of the looks at them."""

    def __init__(self) -> None:
        self.deals = [_deal(1, 1_000_000)]
        self.asked_from: list[int] = []

    def pulse(self, deals_from: int) -> Mapping[str, Any]:
        account = {"login": 7, "server": "Demo", "currency": "USD", "balance": 1.0, "credit": 0.0, "profit": 0.0}
        account |= {"equity": 1.0, "margin": 0.0, "margin_free": 1.0}
        return {
            "wrong_account": False,
            "linked": True,
            "error_code": 1,
            "journal_sequence": 0,
            "terminal": True,
            "account": account,
            "connected": True,
            "trade_allowed": True,
            "build": 5000,
            "positions": 0,
            "orders": 0,
            "deals": sum(each.time >= deals_from for each in self.deals),
            "newest_msc": 1,
        }

    def history_deals_get(self, date_from: int, date_to: int) -> Any:
        self.asked_from.append(date_from)
        return tuple(each for each in self.deals if each.time >= date_from)


def _deal(ticket: int, time: int, **changes: Any) -> Any:
    values = {"ticket": ticket, "time": time, "time_msc": time * 1000, "symbol": "EURUSD", **changes}
    return TradeDeal(values.get(name, kind()) for name, kind in STRUCTS["TradeDeal"])


def test_new_deals_cost_a_short_look_and_only_missing_ones_or_a_minute_a_whole_one(
    database: Database, tmp_path: Path
) -> None:
    terminal, now = TradingTerminal(), [1000.0]
    target = Target("ter_0000000000000001", "acc_0000000000000001", 1, 7, "Demo", TerminalLayout(tmp_path, tmp_path))
    parts = MonitorParts(
        lambda _: terminal, Collector(database, lambda: now[0]), lambda: now[0], as_datetime, interval=60.0
    )
    monitor = Monitor(target, parts, lambda _: None, list)
    spool = Spool(database)

    def look() -> list[int]:
        """Of one round: from how long before the newest deal the looks at deals began."""
        terminal.asked_from.clear()
        monitor._ask_and_collect()
        return [1_000_100 - asked for asked in terminal.asked_from]

    whole, short = range(86_000, 1_000_101), range(200)
    assert [back in whole for back in look()] == [True]
    terminal.deals += [_deal(2, 1_000_100)]
    assert [back in short for back in look()] == [True]
    assert all(back in short for back in look() + look())
    assert look() == []
    terminal.deals += [_deal(3, 1_000_101), _deal(4, 999_000)]  # booked late
    assert [back in whole for back in look()] == [False, True]
    terminal.deals[0] = _deal(1, 1_000_000, price=2.0)  # edited, which no count shows
    now[0] += 61.0
    assert [back in whole for back in look()] == [True]
    assert [event.body.ticket for event in spool.oldest() if isinstance(event.body, DealBody)] == [1, 2, 3, 4, 1]
