"""Deals, journal rows and bot logs become events once, whatever happens in between."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mt5_bridge.contract import STRUCTS
from mt5_bridge.journal import Journal
from mt5_bridge.structs import TradeDeal, TradeOrder, TradePosition
from node_agent.bots.report import Status, read_status
from node_agent.bridge import Target
from node_agent.collector import OVERLAP_SECONDS, Collector
from node_agent.database import Database
from node_agent.errors import StorageError
from node_agent.layout import TerminalLayout
from node_agent.protocol.messages import BotLogBody, DealBody, HistoryOrderBody, OrderBody, PaperFill, PositionsBody
from node_agent.spool import Spool, SpoolFullError
from node_agent.state import StateStore

BOT = "bot_0000000000000001"


def deal(ticket: int, time: int, **changes: Any) -> Any:
    values = {"ticket": ticket, "time": time, "symbol": "EURUSD"} | changes
    return TradeDeal(values.get(name, kind()) for name, kind in STRUCTS["TradeDeal"])


def row(sequence: int, order_id: str = "o1", state: str = "done", **changes: Any) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "client_order_id": order_id,
        "state": state,
        "principal": "user:usr_1",
        "request": {"symbol": "EURUSD", "type": 1, "volume": 0.2},
        "updated_at": 1000.0,
        "retcode": None,
        "order": 0,
        "deal": 0,
        "volume": None,
        "price": None,
        "comment": None,
        "code": "",
        "text": "",
    } | changes


class FakeBridge:
    """A terminal with a history and a journal."""

    def __init__(self) -> None:
        self.deals: list[Any] = []
        self.rows: list[dict[str, Any]] = []
        self.asked_from: list[int] = []
        self.orders: list[Any] = []
        self.positions: tuple[Any, ...] | None = ()

    def history_orders_get(self, date_from: int, date_to: int) -> Any:
        return tuple(each for each in self.orders if date_from <= each.time_done <= date_to)

    def positions_get(self) -> Any:
        return self.positions

    def history_deals_get(self, date_from: int, date_to: int) -> Any:
        self.asked_from.append(date_from)
        return tuple(each for each in self.deals if date_from <= each.time <= date_to)

    def journal(self, after_sequence: int, limit: int) -> Sequence[Mapping[str, Any]]:
        return [each for each in self.rows if each["sequence"] > after_sequence][:limit]

    def pulse(self, deals_from: int) -> Mapping[str, Any]:
        raise NotImplementedError

    def configure(self, configuration: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def account_info(self) -> Any:
        raise NotImplementedError

    terminal_info = positions_total = symbols_get = close = account_info

    def symbol_info_tick(self, symbol: str) -> Any:
        raise NotImplementedError


class Bench:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.sqlite3"
        self.database = Database(self.path)
        layout = TerminalLayout(folder / "ter_0000000000000001", folder)
        self.target = Target("ter_0000000000000001", "acc_0000000000000001", 3, 7, "Demo", layout)
        self.bridge = FakeBridge()
        self.collector = Collector(self.database, lambda: 5000.0)
        self.spool = Spool(self.database)

    def tickets(self) -> list[int]:
        bodies = [event.body for event in self.spool.oldest()]
        return [body.ticket for body in bodies if isinstance(body, DealBody)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.database.close()


def test_the_whole_history_comes_first_and_then_only_what_is_new(bench: Bench) -> None:
    bench.bridge.deals = [deal(1, 1_000_000), deal(2, 2_000_000)]
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 2
    bench.bridge.deals.append(deal(3, 2_000_100))
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 1
    assert bench.bridge.asked_from == [0, 2_000_000 - OVERLAP_SECONDS]
    assert bench.tickets() == [1, 2, 3]
    event = bench.spool.oldest(1)[0]
    assert event.event_id == "deal:acc_0000000000000001:1"
    assert event.epoch == 3


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 30), st.integers(0, OVERLAP_SECONDS - 1)), max_size=6), min_size=1, max_size=6
    )
)
def test_deals_booked_in_any_order_within_a_day_arrive_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int]]]
) -> None:
    bench = Bench(tmp_path_factory.mktemp("bench"))
    booked: dict[int, Any] = {}
    for batch in batches:
        for ticket, time in batch:
            booked.setdefault(ticket, deal(ticket, 5_000_000 + time))
        bench.bridge.deals = list(booked.values())
        bench.collector.collect_deals(bench.bridge, bench.target)
    assert sorted(bench.tickets()) == sorted(booked)
    bench.database.close()


def order(ticket: int, time_done: int, **changes: Any) -> Any:
    values = {"ticket": ticket, "time_done": time_done, "time_done_msc": time_done * 1000, "symbol": "EURUSD"} | changes
    return TradeOrder(values.get(name, kind()) for name, kind in STRUCTS["TradeOrder"])


def position(ticket: int, **changes: Any) -> Any:
    values = {"ticket": ticket, "symbol": "EURUSD"} | changes
    return TradePosition(values.get(name, kind()) for name, kind in STRUCTS["TradePosition"])


def test_a_deal_that_the_broker_edits_comes_again_under_another_id(bench: Bench) -> None:
    bench.bridge.deals = [deal(1, 1_000_000, swap=0.0)]
    bench.collector.collect_deals(bench.bridge, bench.target)
    bench.bridge.deals = [deal(1, 1_000_000, swap=-1.5)]
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 1
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 0
    first, second = bench.spool.oldest()
    assert first.event_id != second.event_id
    assert isinstance(second.body, DealBody)
    assert second.body.swap == -1.5


def test_deals_seen_by_an_older_agent_are_not_sent_again(bench: Bench) -> None:
    with bench.database.transaction() as sql:
        sql.execute(
            "INSERT INTO seen_deal (terminal_id, ticket, time) VALUES (?, 1, 1000000)", ("ter_0000000000000001",)
        )
    bench.bridge.deals = [deal(1, 1_000_000)]
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 0
    bench.bridge.deals = [deal(1, 1_000_000, profit=2.0)]
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 1


def test_orders_of_the_history_come_once(bench: Bench) -> None:
    bench.bridge.orders = [order(1, 1_000_000), order(2, 2_000_000)]
    assert bench.collector.collect_books(bench.bridge, bench.target) == 3
    bench.bridge.orders.append(order(3, 1_999_000))
    assert bench.collector.collect_books(bench.bridge, bench.target) == 1
    bodies = [event.body for event in bench.spool.oldest()]
    assert [body.ticket for body in bodies if isinstance(body, HistoryOrderBody)] == [1, 2, 3]


def test_positions_come_when_they_change_and_not_with_the_market(bench: Bench) -> None:
    bench.bridge.positions = (position(5, sl=1.0, profit=3.0),)
    assert bench.collector.collect_books(bench.bridge, bench.target) == 1
    bench.bridge.positions = (position(5, sl=1.0, profit=9.0, price_current=1.2),)
    assert bench.collector.collect_books(bench.bridge, bench.target) == 0
    bench.bridge.positions = None
    assert bench.collector.collect_books(bench.bridge, bench.target) == 0
    bench.bridge.positions = ()
    assert bench.collector.collect_books(bench.bridge, bench.target) == 1
    bodies = [event.body for event in bench.spool.oldest()]
    assert [len(body.positions) for body in bodies if isinstance(body, PositionsBody)] == [1, 0]


def test_nothing_new_is_sent_to_an_older_control_plane(bench: Bench) -> None:
    bench.bridge.orders, bench.bridge.positions = [order(1, 1_000_000)], (position(5),)
    collector = Collector(bench.database, lambda: 5000.0, whole_books=lambda: False)
    assert collector.collect_books(bench.bridge, bench.target) == 0
    assert len(bench.spool) == 0


def test_each_state_of_an_order_is_an_event(bench: Bench) -> None:
    bench.bridge.rows = [row(1, state="sent"), row(2, "o2", "refused", retcode=10019, text="No money")]
    assert bench.collector.collect_journal(bench.bridge, bench.target, 2) == 2
    bench.bridge.rows = [row(2, "o2", "refused"), row(3, state="done", retcode=10009, order=5, deal=6, price=1.1)]
    assert bench.collector.collect_journal(bench.bridge, bench.target, 3) == 1
    bodies = [event.body for event in bench.spool.oldest()]
    assert [(b.client_order_id, b.state) for b in bodies if isinstance(b, OrderBody)] == [
        ("o1", "sent"),
        ("o2", "refused"),
        ("o1", "done"),
    ]
    last = bodies[-1]
    assert isinstance(last, OrderBody)
    assert (last.symbol, last.volume, last.price, last.order, last.deal) == ("EURUSD", 0.2, 1.1, 5, 6)


def test_a_journal_made_anew_is_read_from_its_start(bench: Bench) -> None:
    bench.bridge.rows = [row(9)]
    bench.collector.collect_journal(bench.bridge, bench.target, 9)
    bench.bridge.rows = [row(1, "o7")]
    assert bench.collector.collect_journal(bench.bridge, bench.target, 1) == 1


def test_an_endless_order_id_still_makes_a_legal_event_id(bench: Bench) -> None:
    bench.bridge.rows = [row(1, "x" * 300), row(2, "x" * 299 + "y")]
    bench.collector.collect_journal(bench.bridge, bench.target, 2)
    assert len({event.event_id for event in bench.spool.oldest()}) == 2


def test_bot_logs_are_read_line_by_line_and_survive_rotation(bench: Bench) -> None:
    log = bench.target.layout.bot(BOT).log
    log.parent.mkdir(parents=True)
    first = json.dumps({"at": "2026-01-05T10:00:00Z", "level": "warning", "text": "one"})
    log.write_text(first + '\n{"at": "unfinish')
    assert bench.collector.collect_bot_logs(bench.target, [BOT]) == 1
    assert bench.collector.collect_bot_logs(bench.target, [BOT]) == 0
    log.write_text(first + "\nnot json\n")
    assert bench.collector.collect_bot_logs(bench.target, [BOT]) == 1
    log.unlink()
    log.write_text(json.dumps({"at": "2026-01-05T11:00:00Z", "level": "info", "text": "anew"}) + "\n")
    assert bench.collector.collect_bot_logs(bench.target, [BOT]) == 1
    bodies = [event.body for event in bench.spool.oldest()]
    texts = [(body.level, body.text) for body in bodies if isinstance(body, BotLogBody)]
    assert texts == [("warning", "one"), ("info", "not json"), ("info", "anew")]


def test_fills_on_paper_go_with_their_lines_and_nonsense_does_not(bench: Bench) -> None:
    log = bench.target.layout.bot(BOT).log
    log.parent.mkdir(parents=True)
    good = {"position": 1, "entry": "out", "side": "sell", "symbol": "EURUSD", "volume": 0.1, "price": 1.1}
    good |= {"profit": 1.5, "time": 1_767_600_000}
    bad = [
        good | one
        for one in ({"profit": "much"}, {"volume": -1}, {"entry": "by"}, {"price": float("nan")}, {"time": 2**60})
    ]
    fills = [good, *bad, [1], "fill", {}]
    log.write_text("".join(json.dumps({"text": "paper", "fill": fill}) + "\n" for fill in fills))
    assert bench.collector.collect_bot_logs(bench.target, [BOT]) == len(fills)
    bodies = [event.body for event in bench.spool.oldest()]
    told = [body.fill for body in bodies if isinstance(body, BotLogBody)]
    assert told == [PaperFill(**good), *[None] * (len(fills) - 1)]


def test_whatever_a_bot_writes_into_its_files_can_be_sent(bench: Bench) -> None:
    files = bench.target.layout.bot(BOT)
    files.root.mkdir(parents=True)
    lines = [
        '{"text": "half a pair \\ud800 and nothing \\u0000"}',
        '{"text": "before all time", "at": "0001-01-01T00:00:00+14:00"}',
        '{"text": "odd time", "at": "\\ud800"}',
        "[" * 20_000,
    ]
    files.log.write_text("\n".join(lines) + "\n")
    assert bench.collector.collect_bot_logs(bench.target, [BOT]) == 4
    bodies = [event.body for event in bench.spool.oldest()]
    texts = [body.text for body in bodies if isinstance(body, BotLogBody)]
    assert texts[:3] == ["half a pair ? and nothing ?", "before all time", "odd time"]
    for status in ("[" * 20_000, '{"phase": "running", "revision": 1e999}', '{"phase": 1}'):
        files.status.write_text(status)
        assert read_status(files) is None
    files.status.write_text('{"phase": "running", "detail": "\\ud800", "revision": 1}')
    assert read_status(files) == Status("running", "?", 1)


@pytest.mark.parametrize("text", ["half a pair \ud800", "nothing \0"])
def test_whatever_a_script_writes_into_a_request_can_be_sent(bench: Bench, text: str) -> None:
    odd = {"symbol": text, "comment": text, "volume": float("nan"), "price": float("inf"), "type": 0}
    bench.bridge.rows = [row(1, "odd", "refused", request=odd), row(2, "next")]
    assert bench.collector.collect_journal(bench.bridge, bench.target, 2) == 2
    bodies = [event.body for event in bench.spool.oldest()]
    orders = [body for body in bodies if isinstance(body, OrderBody)]
    assert [body.client_order_id for body in orders] == ["odd", "next"]
    assert (orders[0].symbol, orders[0].volume, orders[0].price) == (text[:-1] + "?", 0.0, 0.0)


def test_an_event_that_cannot_be_read_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.bridge.deals = [deal(1, 5_000_000), deal(2, 5_000_000, profit=float("nan"))]
    bench.collector.collect_deals(bench.bridge, bench.target)
    bench.bridge.deals.append(deal(3, 5_000_000))
    bench.collector.collect_deals(bench.bridge, bench.target)
    assert bench.tickets() == [1, 3]
    assert len(bench.spool) == 2
    with bench.database.transaction() as sql:
        assert sql.execute("SELECT event_id FROM unreadable").fetchall() == [("deal:acc_0000000000000001:2",)]


def test_a_full_disk_loses_and_repeats_nothing(bench: Bench) -> None:
    with bench.database.transaction() as sql:
        pages = sql.execute("PRAGMA page_count").fetchone()[0]
    with bench.database.transaction() as sql:
        sql.execute(f"PRAGMA max_page_count = {pages}")
    bench.bridge.deals = [deal(ticket, 5_000_000 + ticket) for ticket in range(1, 400)]
    with pytest.raises(StorageError, match="full"):
        bench.collector.collect_deals(bench.bridge, bench.target)
    assert bench.tickets() == []
    with bench.database.transaction() as sql:
        sql.execute("PRAGMA max_page_count = 1000000")
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 399
    assert bench.tickets() == list(range(1, 400))


def test_events_leave_the_spool_in_order_and_only_when_removed(bench: Bench) -> None:
    bench.bridge.deals = [deal(ticket, 5_000_000) for ticket in (3, 1, 2)]
    bench.collector.collect_deals(bench.bridge, bench.target)
    assert bench.tickets() == [3, 1, 2]
    bench.spool.remove([bench.spool.oldest(1)[0].event_id])
    bench.database.close()
    reopened = Database(bench.path)
    assert len(Spool(reopened)) == 2
    reopened.close()
    bench.database = Database(bench.path)


def test_a_destroyed_terminal_leaves_its_undelivered_events(bench: Bench) -> None:
    bench.bridge.deals = [deal(1, 5_000_000)]
    bench.collector.collect_deals(bench.bridge, bench.target)
    StateStore(bench.database).forget_terminal(bench.target.terminal_id)
    assert bench.tickets() == [1]
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 1
    assert bench.tickets() == [1], "the same event does not wait twice"


def test_the_database_is_for_its_owner_only(bench: Bench) -> None:
    assert bench.path.stat().st_mode & 0o077 == 0
    with sqlite3.connect(bench.path) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


def test_a_full_spool_takes_nothing_more_and_nothing_is_lost_by_that(bench: Bench) -> None:
    collector = Collector(bench.database, lambda: 1000.0, most_events=4)
    bench.bridge.deals = [deal(ticket, 5_000_000) for ticket in (1, 2, 3, 4)]
    collector.collect_deals(bench.bridge, bench.target)
    bench.bridge.deals.append(deal(5, 5_000_000))
    with pytest.raises(SpoolFullError):
        collector.collect_deals(bench.bridge, bench.target)
    bench.spool.remove([bench.spool.oldest(1)[0].event_id])
    assert collector.collect_deals(bench.bridge, bench.target) == 1
    assert bench.tickets() == [2, 3, 4, 5]


def test_bot_logs_leave_half_of_the_spool_to_deals_and_orders(bench: Bench) -> None:
    collector = Collector(bench.database, lambda: 1000.0, most_events=4)
    log = bench.target.layout.bot(BOT).log
    log.parent.mkdir(parents=True)
    log.write_text("one\n")
    bench.bridge.deals = [deal(ticket, 5_000_000) for ticket in (1, 2)]
    collector.collect_deals(bench.bridge, bench.target)
    assert collector.collect_bot_logs(bench.target, [BOT]) == 0
    bench.spool.remove([event.event_id for event in bench.spool.oldest()])
    assert collector.collect_bot_logs(bench.target, [BOT]) == 1, "they have waited in their file"


def test_what_a_dead_worker_has_left_in_its_journal_is_rescued_once_with_its_own_epoch(bench: Bench) -> None:
    layout = bench.target.layout
    layout.root.mkdir()
    layout.account.write_text("acc_0000000000000001")
    with closing(Journal(layout.journal, lambda: 900.0)) as journal:
        for number, epoch in enumerate((2, 3)):
            journal.add(f"b-{number}", "bot:bot_1", epoch, {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0})
            journal.sent(f"b-{number}", 0, 0)
    assert bench.collector.rescue_journal(layout) == 2
    assert bench.collector.rescue_journal(layout) == 0
    events = bench.spool.oldest()
    assert [(event.epoch, event.account_id) for event in events] == [
        (2, "acc_0000000000000001"),
        (3, "acc_0000000000000001"),
    ]
    assert [event.body.state for event in events if isinstance(event.body, OrderBody)] == ["sent", "sent"]


def test_nothing_is_rescued_from_a_terminal_that_never_had_a_worker(bench: Bench) -> None:
    bench.target.layout.root.mkdir()
    assert bench.collector.rescue_journal(bench.target.layout) == 0
    assert not bench.target.layout.journal.exists()


def test_a_recent_look_asks_for_little_and_what_it_misses_is_noticed(bench: Bench) -> None:
    now = 1_000_000
    bench.bridge.deals = [deal(1, now - 80_000), deal(2, now)]
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 2
    since = bench.collector.deals_from(bench.target)
    bench.bridge.deals += [deal(3, now + 1), deal(4, now - 40_000)]  # the fourth is booked late
    assert bench.collector.collect_deals(bench.bridge, bench.target, recent=True) == 1
    assert bench.bridge.asked_from[-1] >= now - 10
    assert bench.collector.misses_deals(bench.target, since, 4)
    assert bench.collector.collect_deals(bench.bridge, bench.target) == 1
    assert not bench.collector.misses_deals(bench.target, since, 4)
    assert sorted(bench.tickets()) == [1, 2, 3, 4]


def test_an_account_that_trades_for_days_is_not_looked_at_as_a_whole_at_each_deal(bench: Bench) -> None:
    start = 1_000_000
    for number in range(0, 100_000, 50):
        bench.bridge.deals.append(deal(number + 1, start + number))
    bench.collector.collect_deals(bench.bridge, bench.target)
    since = bench.collector.deals_from(bench.target)
    bench.bridge.deals.append(deal(200_000, start + 100_000))
    assert bench.collector.collect_deals(bench.bridge, bench.target, recent=True) == 1
    counted = len(bench.bridge.history_deals_get(since, 2**31))
    assert not bench.collector.misses_deals(bench.target, since, counted)
