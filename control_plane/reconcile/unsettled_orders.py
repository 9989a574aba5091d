"""Find out what became of orders whose answer was lost. Nothing is ever sent again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import structlog

from control_plane.access.port import Target, TerminalDoor
from control_plane.access.service import ask, target_of
from control_plane.accounts.model import Account
from control_plane.assignments import repository as assignments_repository
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import FarmError
from control_plane.fleet import repository as fleet_repository
from control_plane.terminals import repository as terminals_repository
from control_plane.trading import repository, settlement
from control_plane.trading.model import Order
from control_plane.trading.outcome import NOT_EXECUTED, Outcome
from control_plane.trading.service import TradeLog
from control_plane.trading.settlement import OpenOrder
from control_plane.trading.state import OrderState
from node_agent.protocol.tickets import Scope

_BATCH = 50
_AT_ONCE = 8
_log = structlog.get_logger(__name__)


class UnsettledOrders:
    def __init__(self, database: Database, door: TerminalDoor, log: TradeLog, clock: Clock) -> None:
        self._database = database
        self._door = door
        self._trade_log = log
        self._clock = clock

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            due = repository.to_settle(session, self._clock.now(), _BATCH)
        terminals: dict[str, list[tuple[Order, Account]]] = defaultdict(list)
        for order, account in due:
            terminals[account.id].append((order, account))
        # A terminal that does not answer must not keep the others waiting.
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="settle") as pool:
            list(pool.map(self._look_at_all, terminals.values()))

    def _look_at_all(self, due: Iterable[tuple[Order, Account]]) -> None:
        """Those of one terminal, which is not asked again in this round once it has not answered."""
        answers = True
        for order, account in due:
            try:
                answers = self._look(order, account, ask_terminal=answers)
            except Exception:  # noqa: BLE001 - one order that cannot be judged must not keep the others waiting
                _log.exception("order_cannot_be_settled", order=order.id)
                self._postpone(order)

    def _postpone(self, order: Order) -> None:
        with self._database.write_as_system() as session:
            row = repository.locked_order(session, order.tenant_id, order.id)
            if row is not None and row.look_again_at is not None:
                row.look_again_at = self._clock.now() + settlement.PATIENT

    def _look(self, order: Order, account: Account, *, ask_terminal: bool) -> bool:
        """Whether the terminal may be asked again."""
        known = OpenOrder(OrderState(order.state), order.epoch, order.created_at, order.sent_at, order.placed_here)
        news, answers = None, ask_terminal
        if known.placed_here and known.state is OrderState.PENDING:
            news = NOT_EXECUTED if settlement.abandoned(known, self._clock.now()) else None
        elif ask_terminal:
            try:
                news = self._ask_journal(order, account, known)
            except FarmError:
                answers = False  # it is not there at the moment; the order stays open
        self._write(order, account, known, news)
        return answers

    def _ask_journal(self, order: Order, account: Account, known: OpenOrder) -> Outcome | None:
        """Raises FarmError."""
        target = self._target(account)
        if target is None:
            return None
        row = ask(self._door, target, lambda terminal: terminal.outcome(order.client_order_id))
        if row is None and settlement.may_give_up(known, target.epoch, self._clock.now()):
            row = ask(self._door, target, lambda terminal: terminal.give_up(order.client_order_id), Scope.TRADE)
        return settlement.judge(row)

    def _target(self, account: Account) -> Target | None:
        with self._database.read_as_system() as session:
            terminal = terminals_repository.of_account(session, account.tenant_id, account.id)
            assignment = assignments_repository.alive(session, account.tenant_id, terminal.id)
            node = None if assignment is None else fleet_repository.node(session, assignment.node_id)
        if assignment is None or node is None:
            return None
        return target_of(terminal, assignment, node)

    def _write(self, order: Order, account: Account, known: OpenOrder, news: Outcome | None) -> None:
        with self._database.write_as_system() as session:
            row = repository.locked_order(session, order.tenant_id, order.id)
            if row is None or row.state != known.state:
                return  # somebody else brought it forward in the meantime
            if news is not None:
                self._trade_log.apply(session, row, account, news)
                _log.info("order_settled", order=order.id, state=news.state)
                return
            shown, row.look_again_at = settlement.still_open(known, self._clock.now())
            if row.asked_at is None and settlement.asks_person(known, self._clock.now()):
                row.asked_at = self._clock.now()
            not_sent_yet = known.placed_here and known.state is OrderState.PENDING
            if not not_sent_yet and (row.state, row.message) != (shown.state, shown.message):
                self._trade_log.apply(session, row, account, shown)
