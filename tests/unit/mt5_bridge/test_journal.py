"""The journal remembers every intent, never forgets an outcome, and survives a restart at any point."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from mt5_bridge.journal import TRANSITIONS, UNSETTLED, Journal, State, TransitionError
from tests.bridge_doubles import struct

REQUEST = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}


def result(order: int) -> Any:
    request = struct("TradeRequest", **REQUEST)
    return struct("OrderSendResult", retcode=10009, order=order, deal=order + 1, volume=0.1, price=1.1, request=request)


def test_an_outcome_is_given_back_as_the_terminal_gave_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", lambda: 5.0)
    journal.add("a", "user:1", 7, REQUEST)
    journal.sent("a", 1000, 50)
    journal.settle("a", State.DONE, result=result(51))
    entry = journal.get("a")
    assert entry is not None
    assert entry.order_send_result() == result(51)
    assert (entry.order_ticket, entry.deal_ticket, entry.broker_time, entry.watermark) == (51, 52, 1000, 50)
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def test_the_file_of_an_older_worker_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    old = Journal(path, lambda: 5.0)
    old.add("a", "user:1", 7, REQUEST)
    old.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE orders DROP COLUMN sent_at")
    journal = Journal(path, lambda: 6.0)
    journal.sent("a", 1000, 50)
    entry = journal.get("a")
    assert entry is not None
    assert entry.sent_at == 6.0
    journal.close()


def test_a_ticket_is_claimed_by_the_row_that_has_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", lambda: 5.0)
    for name, order in (("a", 51), ("b", 60)):
        journal.add(name, "user:1", 7, REQUEST)
        journal.sent(name, 0, 0)
        journal.settle(name, State.DONE, result=result(order))
    assert journal.claimed(0, "b") == {51}
    assert journal.claimed(51, "x") == {60}
    assert journal.highest_ticket() == 60


class JournalMachine(RuleBasedStateMachine):
    """Any order of events and restarts, against a dict."""

    ids: Bundle[str] = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="m5")
        self.path = Path(self.folder.name) / "journal"
        self.journal = Journal(self.path, lambda: 1.0)
        self.states: dict[str, State] = {}
        self.seen = 0

    @rule(target=ids, name=st.text("abc", min_size=1, max_size=2))
    def add(self, name: str) -> str:
        entry, new = self.journal.add(name, "user:1", 7, REQUEST)
        assert new is (name not in self.states)
        assert entry.state is self.states.setdefault(name, State.JOURNALED)
        return name

    @rule(name=ids, state=st.sampled_from(State), answered=st.booleans())
    def change(self, name: str, state: State, answered: bool) -> None:
        allowed = state in TRANSITIONS[self.states[name]]
        try:
            if state is State.SENT:
                self.journal.sent(name, 1, 2)
            else:
                self.journal.settle(name, state, result=result(3) if answered else None)
            assert allowed
            self.states[name] = state
        except TransitionError:
            assert not allowed

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal(self.path, lambda: 1.0)

    @rule()
    def follow(self) -> None:
        """Someone who reads by sequence sees the last state of everything that changed since."""
        rows = self.journal.after(self.seen, 1000)
        assert [row.sequence for row in rows] == sorted({row.sequence for row in rows})
        assert all(row.state is self.states[row.client_order_id] for row in rows)
        self.seen = self.journal.sequence()

    @invariant()
    def states_agree(self) -> None:
        assert {row.client_order_id: row.state for row in self.journal.after(0, 1000)} == self.states
        unsettled = {name for name, state in self.states.items() if state in UNSETTLED}
        assert {row.client_order_id for row in self.journal.unsettled()} == unsettled

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


TestJournalMachine = pytest.mark.timeout(60)(JournalMachine.TestCase)
TestJournalMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_the_disk_is_waited_for_before_an_order_is_sent_and_when_one_is_given_up(tmp_path: Path) -> None:
    """A note that it is about to be sent lies behind its intent in the same file, so one wait is for both. An outcome
    that is lost is found out again.
    """
    journal, waits, full = Journal(tmp_path / "j", lambda: 5.0), [], [False]

    def see(statement: str) -> None:
        if statement.startswith("PRAGMA synchronous"):
            full[0] = statement.endswith("FULL")
        elif statement.startswith(("INSERT", "UPDATE")):
            waits.append(full[0])

    journal._database.set_trace_callback(see)
    journal.add("a", "user:1", 7, REQUEST)
    journal.sent("a", 1000, 50)
    journal.settle("a", State.DONE, result=result(51))
    journal.give_up("b", "user:1", 7)
    assert waits == [False, True, False, True]
