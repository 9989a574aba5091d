"""Compare the trade log of each account with its broker's book: when its terminal comes, from time to time, on wish."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from control_plane.access.port import TerminalDoor
from control_plane.access.service import ask, target_of
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.races import is_lost_race
from control_plane.errors import FarmError
from control_plane.ids import new_id
from control_plane.trading import book_rows
from control_plane.trading.book_rows import Comparable
from control_plane.trading.broker_book import Log, Look, NoAnswerError, look, storable_fields
from control_plane.trading.model import BookDifference
from control_plane.trading.reconciliation import Difference, judge
from control_plane.trading.service import TradeLog, never_compared
from control_plane.trading.state import DifferenceKind, DifferenceState, Subject, difference_may_become
from node_agent.protocol.messages import DealBody, HistoryOrderBody

_BATCH = 50
_AT_ONCE = 4
SECOND_LOOK = timedelta(seconds=30)
"""A deal takes seconds from the broker to the log; what is missing for longer is missing."""
_AFTER_FAILURE = timedelta(minutes=5)
_SAFE = {DifferenceKind.MISSING_HERE, DifferenceKind.EDITED}
"""What is healed by writing down what the broker says."""
_log = structlog.get_logger(__name__)


class TradeLogs:
    def __init__(
        self, database: Database, door: TerminalDoor, trade_log: TradeLog, clock: Clock, every: timedelta
    ) -> None:
        self._database = database
        self._door = door
        self._trade_log = trade_log
        self._clock = clock
        self._every = every

    def run_once(self) -> None:
        with self._database.write_as_system() as session:
            due = book_rows.due_for_comparison(session, self._clock.now(), self._every, _BATCH)
            for each in due:
                self._claim(session, each)
        if not due:
            return
        # A terminal that does not answer must not keep the others waiting.
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="trade-log") as pool:
            list(pool.map(self._compare, due))

    def _claim(self, session: Session, due: Comparable) -> None:
        """So that no other process compares it as well; should this one die, another looks later."""
        row = book_rows.reconciliation(session, due.account.id)
        if row is None:
            row = never_compared(due.account.id, due.account.tenant_id)
            session.add(row)
        row.epoch, row.looked_at = due.assignment.epoch, self._clock.now()
        row.look_again_at = self._clock.now() + _AFTER_FAILURE

    def _compare(self, due: Comparable) -> None:
        account_id = due.account.id
        try:
            with self._database.read_as_system() as session:
                log = Log(book_rows.all_facts(session, account_id), book_rows.all_history_orders(session, account_id))
            seen = ask(
                self._door,
                target_of(due.terminal, due.assignment, due.node),
                lambda terminal: look(terminal, log),
            )
            with self._database.write_as_system() as session:
                self._write(session, due, log, seen)
        except (NoAnswerError, FarmError) as error:
            self._postpone(due, str(error))
        except DBAPIError as error:
            if not is_lost_race(error):
                raise
            self._postpone(due, "")  # an event brought the same at the same moment
        except Exception:  # noqa: BLE001 - one book that cannot be read must not keep the others waiting
            _log.exception("trade_log_not_compared", account=account_id)
            self._postpone(due, "The books could not be compared.")

    def _postpone(self, due: Comparable, problem: str) -> None:
        with self._database.write_as_system() as session:
            row = book_rows.reconciliation(session, due.account.id)
            assert row is not None
            row.problem = problem[:300]
            row.look_again_at = self._clock.now() + (_AFTER_FAILURE if problem else SECOND_LOOK)

    def _write(self, session: Session, due: Comparable, log: Log, seen: Look) -> None:
        row = book_rows.reconciliation(session, due.account.id)
        assert row is not None
        now = self._clock.now()
        known = book_rows.differences_by_digest(session, due.account.id)
        still_open = {digest for digest, each in known.items() if each.state == DifferenceState.OPEN}
        verdict = judge(seen.differences, row.suspects, still_open, known.keys() - still_open)
        for digest in verdict.gone:
            known[digest].state, known[digest].settled_at = DifferenceState.GONE, now
        for digest in verdict.back:
            if difference_may_become(DifferenceState(known[digest].state), DifferenceState.OPEN):
                known[digest].state, known[digest].settled_at = DifferenceState.OPEN, None
        healed = self._heal(session, due, verdict.fresh, seen)
        for each in verdict.fresh:
            state = DifferenceState.HEALED if each.digest in healed else DifferenceState.OPEN
            session.add(_row_of(due, each, state, now))
        row.suspects, row.problem = list(verdict.suspects), ""
        row.look_again_at = now + SECOND_LOOK if verdict.suspects else None
        row.found = len(verdict.fresh)
        row.deals, row.orders, row.fetched = len(log.deals), len(log.orders), seen.fetched
        if verdict.fresh:
            _log.warning("trade_log_differed", account=due.account.id, found=len(verdict.fresh), healed=len(healed))
        if not verdict.suspects:
            row.finished_at = now

    def _heal(self, session: Session, due: Comparable, fresh: Sequence[Difference], seen: Look) -> set[str]:
        """Write down what the broker says. Returns digests of what the log holds now."""
        healed = set()
        account, epoch, now = due.account, due.assignment.epoch, self._clock.now()
        for each in fresh:
            if each.kind not in _SAFE:
                continue
            if each.subject is Subject.DEAL:
                body = DealBody.model_validate(storable_fields(seen.deals[each.ticket]))
                done = self._trade_log.record_deal(session, account, body, epoch, now)
            else:
                order = HistoryOrderBody.model_validate(storable_fields(seen.orders[each.ticket]))
                done = self._trade_log.record_history_order(session, account, order, epoch, replace=True)
            if done:
                healed.add(each.digest)
        return healed


def _row_of(due: Comparable, found: Difference, state: DifferenceState, now: datetime) -> BookDifference:
    return BookDifference(
        id=new_id("dif"),
        tenant_id=due.account.tenant_id,
        account_id=due.account.id,
        subject=found.subject,
        kind=found.kind,
        ticket=found.ticket,
        digest=found.digest,
        here=dict(found.here),
        there=dict(found.there),
        state=state,
        found_at=now,
        settled_at=now if state is DifferenceState.HEALED else None,
    )
