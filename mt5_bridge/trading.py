"""The way of a trade through the worker: written down, checked, sent at most once, settled."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from mt5_bridge.arguments import SUCCESS
from mt5_bridge.balance_operations import Movement, movement, open_ledger
from mt5_bridge.bot_rules import BotRule, Pace, own_order_id, rule_for, touches_others
from mt5_bridge.contract import CONSTANTS, FUNCTIONS
from mt5_bridge.executor import BusyError, DeadlineError, Executor
from mt5_bridge.guard import Guard
from mt5_bridge.guard_memory import GuardRecord
from mt5_bridge.guard_rules import MINUTE, Figures, OpenBooks, may_open, opens, reduces, refusal, take_in
from mt5_bridge.journal import Entry, Journal, State, unexecuted
from mt5_bridge.refusals import RefusedError, terminal_lost
from mt5_bridge.settlement import Books, Finding, find, not_executed
from mt5_bridge.terminal_link import Account, TerminalLink

log = logging.getLogger(__name__)

DONE: Final = frozenset(CONSTANTS[f"TRADE_RETCODE_{name}"] for name in ("PLACED", "DONE", "DONE_PARTIAL"))
UNCERTAIN: Final = frozenset(CONSTANTS[f"TRADE_RETCODE_{name}"] for name in ("ERROR", "TIMEOUT", "CONNECTION"))
"""Return codes that do not say whether the broker has executed the order."""
NOT_SENT: Final = frozenset({-2, -3, -5, -6, -7, -8, -10004})
"""Codes of last_error() after None that say that nothing was sent."""
_DEADLINE: Final = FUNCTIONS["order_send"].deadline
_TICKETS: Final = {"TradeOrder": "ticket", "TradePosition": "ticket", "TradeDeal": "order"}
_LAST_SECOND: Final = 2**31 - 1
_HISTORY_MARGIN_SECONDS: Final = 60
_FORGOTTEN_SECONDS: Final = 60.0
_SETTLED_AT_ONCE: Final = 50
"""Entries of one look, so that clients do not wait long behind it."""
_PUZZLED_SECONDS: Final = 10.0
"""How long the deals behind a new balance may take to come; then what is missing counts as a loss or gain."""
_BELIEVED_AFTER: Final = 3.0
"""A terminal that has just connected knows no deals until it has been told of them."""
_FIRST_DEALS_SECONDS: Final = 3 * 86_400
"""Long enough for any time zone of the broker, and for a deal to be among them as a rule."""
_HEDGING: Final = CONSTANTS["ACCOUNT_MARGIN_MODE_RETAIL_HEDGING"]
_NO_BROKER: Final = CONSTANTS["TRADE_RETCODE_CONNECTION"]


@dataclass(frozen=True)
class Mandate:
    """What this worker may do now: the epoch of its assignment and the guard."""

    epoch: int
    guard: Guard


@dataclass(frozen=True)
class Sender:
    """Who wants to trade, by which assignment."""

    principal: str
    epoch: int


class TradeDesk:
    """All trading of one terminal."""

    def __init__(
        self,
        journal: Journal,
        executor: Executor,
        link: TerminalLink,
        account: Account,
        mandate: Mandate,
        clock: Callable[[], float],
        lease_over: Callable[[], bool] = lambda: False,
        record: GuardRecord | None = None,
    ) -> None:
        """`lease_over` says that nothing may be traded here any more, since another node may hold the terminal.
        `record` is what the guard remembers.
        """
        self._journal = journal
        self._executor = executor
        self._link = link
        self._account = account
        self._clock = clock
        self._lease_over = lease_over
        self._watermark = journal.highest_ticket()
        self._own_ids = f"auto-{os.urandom(16).hex()}-"
        self._numbers = count(1)
        self._broker_time = 0
        self._missed: set[str] = set()
        self._pace = Pace()
        self.mandate = mandate
        self.record = record or GuardRecord()
        self._opened_at: deque[float] | None = None
        self._puzzled_since: float | None = None
        self.configured = threading.Event()
        """Set whenever there is a new mandate."""

    def configure(self, guard: Guard | None, epoch: int | None) -> None:
        """Apply a new guard and epoch. The epoch is never lowered."""
        current = self.mandate
        self.mandate = replace(
            current, guard=guard or current.guard, epoch=max(current.epoch, epoch if epoch is not None else 0)
        )
        self.configured.set()

    @property
    def unguarded(self) -> bool:
        """Whether nothing is limited, nothing has tripped and nothing is lost, so that no order has to be looked at."""
        return self.mandate.guard.free and not self.record.memory.trips and not self.record.problem

    def take_in(self, account: Any) -> None:
        """Let the guard see the account as it is now, an answer of account_info(). On the executor's thread."""
        figures = Figures(account.balance, account.equity)
        if figures == (0.0, 0.0):
            return  # a terminal that has just logged in knows no figures yet, and an empty account has nothing to lose
        guard, record = self.mandate.guard, self.record
        moved = self._moved(account.balance + account.credit) if guard.watches_equity else None
        record.keep(take_in(guard, record.memory, figures, self._clock(), moved))

    def _moved(self, money: float) -> Movement | None:
        """What was paid in or out since the guard last knew; None where nothing has changed, or nothing can be said."""
        ledger = self.record.memory.ledger
        if ledger is not None and ledger.money == money:
            self._puzzled_since = None
            return None
        if ledger is None:
            return self._first_ledger(money)
        now = self._clock()
        found = movement(ledger, money, self._link.call("history_deals_get", (ledger.since, _LAST_SECOND)) or ())
        if found.explained:
            self._puzzled_since = None
            return found
        self._puzzled_since = now if self._puzzled_since is None else min(now, self._puzzled_since)
        if min(now - self._puzzled_since, self._link.connected_for) < _PUZZLED_SECONDS:
            return found
        log.warning("no deals explain how the balance has changed: %.2f and %.2f", ledger.money, money)
        self._puzzled_since = None
        return replace(found, explained=True)

    def _first_ledger(self, money: float) -> Movement | None:
        """Once the terminal has had time to be told of its deals."""
        if self._link.connected_for < _BELIEVED_AFTER:
            return None
        since = max(0, int(self._clock()) - _FIRST_DEALS_SECONDS)
        deals = self._link.call("history_deals_get", (since, _LAST_SECOND))
        return None if deals is None else Movement(open_ledger(money, deals, since))

    def send(
        self, sender: Sender, request: Mapping[str, Any], client_order_id: str | None
    ) -> tuple[Any, tuple[int, str]]:
        """Trade, and give what order_send gave with its last_error(). A known client order id sends nothing.

        Raises RefusedError, and what the package raises.
        """
        rule = rule_for(sender.principal, self.mandate.guard.bots)
        if client_order_id is not None and not own_order_id(sender.principal, client_order_id):
            raise RefusedError("not_allowed", "the client order ids of a bot begin with its own id and a colon")
        if rule is not None:
            request = rule.stamped(request)
            known = client_order_id is not None and self._journal.get(client_order_id) is not None
            # Before anything is written down, so that a flood fills no journal.
            if not known and not self._pace.admit(sender.principal, rule.orders_per_minute, self._clock()):
                raise RefusedError("bot_pace", f"the bot sent more than {rule.orders_per_minute} orders in a minute")
        order_id = client_order_id or f"{self._own_ids}{next(self._numbers)}"
        try:
            entry, new = self._journal.add(order_id, sender.principal, sender.epoch, request)
        except sqlite3.Error as error:
            log.exception("the order journal cannot be written")
            raise RefusedError("busy", "the order could not be written down, so it was not sent") from error
        if not new:
            return self._recorded(entry, request), SUCCESS
        try:
            return self._executor.run("order_send", _DEADLINE, self._execute, entry)
        except (BusyError, DeadlineError) as error:
            code = "busy" if isinstance(error, BusyError) else "deadline"
            raise self._refuse(
                entry, State.NOT_EXECUTED, code, "too many calls are waiting; nothing was sent"
            ) from error

    def observe(self, values: Any) -> None:
        """Learn from an answer of a getter which order tickets exist."""
        if type(values) is tuple and values:
            name = _TICKETS.get(type(values[0]).__name__)
            if name is not None:
                self._watermark = max(self._watermark, *(getattr(value, name) for value in values))

    def settle_open(self) -> None:
        """Look for the outcome of orders that have none. On the executor's thread, so that none is on its way."""
        entries = self._journal.unsettled()
        for entry in entries:
            if entry.state is State.SENT:
                self._journal.settle(entry.client_order_id, State.UNKNOWN)
            elif entry.state is State.JOURNALED and self._clock() - entry.created_at > _FORGOTTEN_SECONDS:
                # The disk failed between the two notes of it; nothing waits in the queue for that long.
                self._journal.settle(entry.client_order_id, State.NOT_EXECUTED, code="not_sent")
        waiting = [entry for entry in entries if entry.state is not State.JOURNALED][:_SETTLED_AT_ONCE]
        books = self._read_books(waiting) if waiting and self._link.connected else None
        if books is None:
            self._missed.clear()  # what was not seen before a break says nothing after it
            return
        for entry in waiting:
            self._settle_one(entry, books)

    def forget_unsent(self) -> None:
        """Once, at start: what was written down by an earlier process and not sent will never be sent."""
        for entry in self._journal.unsettled():
            if entry.state is State.JOURNALED:
                self._journal.settle(entry.client_order_id, State.NOT_EXECUTED, code="worker_down")

    def _execute(self, entry: Entry) -> tuple[Any, tuple[int, str]]:
        self._check(entry)
        link, request = self._link, entry.request
        symbol = request.get("symbol")
        if not link.connected and self._has_no_broker():
            return self._answer_without_broker(entry)
        tick = link.struct("symbol_info_tick", symbol) if symbol else None
        # Not the highest time seen: a broker's clock may go back, in autumn or after a crash.
        self._broker_time = self._broker_time if tick is None else tick.time
        if not link.linked:
            raise self._refuse(entry, State.NOT_EXECUTED, *_reason(terminal_lost()))
        self._journal.sent(entry.client_order_id, self._broker_time, self._watermark)
        # Asked again as late as possible: the machine may have slept since the first time.
        if self._lease_over():
            raise self._lease_refusal(entry)
        try:
            result, (error_code, error_text) = link.ask("order_send", (request,), {})
        except (TypeError, SystemError) as error:
            self._record(entry, State.REFUSED, None, "invalid", type(error).__name__)
            raise
        except Exception:
            self._record(entry, State.UNKNOWN, None, "", "the terminal's link broke during the send")
            raise
        if result is None:
            state = State.REFUSED if error_code in NOT_SENT else State.UNKNOWN
            self._record(entry, state, None, str(error_code) if state is State.REFUSED else "", error_text)
        elif result.retcode in DONE:
            self._record(entry, State.DONE, result, "", "")
            self._watermark = max(self._watermark, result.order)
        else:
            state = State.UNKNOWN if result.retcode in UNCERTAIN else State.REFUSED
            self._record(entry, state, result, str(result.retcode), result.comment)
        return result, (error_code, error_text)

    def _check(self, entry: Entry) -> None:
        """Refuse what must not be sent. The account is compared on every trade."""
        if entry.epoch < self.mandate.epoch:
            raise self._refuse(entry, State.REFUSED, "stale_epoch", "the terminal has been assigned anew")
        if self._lease_over():
            raise self._lease_refusal(entry)
        link = self._link
        if not link.linked and not link.wrong_account:
            raise self._refuse(entry, State.NOT_EXECUTED, *_reason(terminal_lost()))
        account = link.struct("account_info")
        if account is None:
            raise self._refuse(entry, State.NOT_EXECUTED, *_reason(terminal_lost()))
        if not self._account.matches(account):
            raise self._refuse(entry, State.REFUSED, "wrong_account", "another account is signed in to the terminal")
        rule = rule_for(entry.principal, self.mandate.guard.bots)
        if rule is not None:
            self._check_rule(rule, entry, hedging=account.margin_mode == _HEDGING)
        if not self.unguarded and may_open(entry.request):
            self._check_guard(entry, account)

    def _check_guard(self, entry: Entry, account: Any) -> None:
        guard, request = self.mandate.guard, entry.request
        self.take_in(account)
        books = self._open_books(guard, account, request)
        if books is None:
            raise self._refuse(entry, State.NOT_EXECUTED, *_reason(terminal_lost()))
        if reduces(request, books.positions, hedging=books.hedging):
            return
        found = refusal(guard, self.record.memory, self.record.problem, books, request, self._clock())
        if found is not None:
            raise self._refuse(entry, State.REFUSED, *found)
        if guard.orders_per_minute is not None:
            self._paces().append(self._clock())

    def _open_books(self, guard: Guard, account: Any, request: Mapping[str, Any]) -> OpenBooks | None:
        """What the limits count; only what they need is asked for. None when the terminal is gone."""
        hedging = account.margin_mode == _HEDGING
        if not guard.counts_exposure:
            named = {"ticket": request["position"]} if request.get("position") else {"symbol": request.get("symbol")}
            asked = bool(request.get("position")) or not hedging
            positions = (self._link.call("positions_get", (), named) or ()) if asked else ()
            orders: Any = ()
        else:
            positions, orders = self._link.call("positions_get"), self._link.call("orders_get")
            if positions is None or orders is None:
                return None
        sent = {State.SENT, State.UNKNOWN}
        unsettled = self._journal.unsettled() if guard.counts_exposure else ()
        coming = [each.request for each in unsettled if each.state in sent and opens(each.request)]
        return OpenBooks(
            positions=positions,
            orders=orders,
            coming=coming,
            opened_at=tuple(self._paces()) if guard.orders_per_minute is not None else (),
            hedging=hedging,
            currencies=self._currencies(request) if guard.asks_currencies else frozenset(),
        )

    def _currencies(self, request: Mapping[str, Any]) -> frozenset[str]:
        symbol = self._link.struct("symbol_info", request.get("symbol", ""))
        if symbol is None:
            return frozenset()
        return frozenset({symbol.currency_base, symbol.currency_profit, symbol.currency_margin})

    def _paces(self) -> deque[float]:
        """When orders that may open were sent in the last minute; from the journal after a start."""
        now = self._clock()
        if self._opened_at is None:
            begun = self._journal.begun_since(now - MINUTE)
            self._opened_at = deque(at for at, request in begun if opens(request))
        while self._opened_at and self._opened_at[0] <= now - MINUTE:
            self._opened_at.popleft()
        return self._opened_at

    def _check_rule(self, rule: BotRule, entry: Entry, *, hedging: bool) -> None:
        request = entry.request
        found = rule.refusal(request, reduces=False)
        if found is not None and not (rule.sends and self._reduces(request, hedging=hedging)):
            raise self._refuse(entry, State.REFUSED, *found)
        named = [request[name] for name in ("position", "position_by", "order") if request.get(name)]
        if not named:
            return
        held = [
            each
            for ticket in named
            for function in ("positions_get", "orders_get")
            for each in self._link.call(function, (), {"ticket": ticket}) or ()
        ]
        if touches_others(request, tuple(held), rule.magic):
            text = "a bot may change its own positions and orders only, and this is not one of them"
            raise self._refuse(entry, State.REFUSED, "bot_not_its_own", text)

    def _reduces(self, request: Mapping[str, Any], *, hedging: bool) -> bool:
        ticket, symbol = request.get("position"), request.get("symbol")
        positions = self._link.call("positions_get", (), {"ticket": ticket} if ticket else {"symbol": symbol}) or ()
        return reduces(request, positions, hedging=hedging)

    def _lease_refusal(self, entry: Entry) -> RefusedError:
        # Closing is refused as well: whoever holds the terminal now decides about its positions.
        text = "the node has lost touch with the farm for too long, so nothing is traded here"
        return self._refuse(entry, State.REFUSED, "guard_lease", text)

    def _has_no_broker(self) -> bool:
        terminal = self._link.call("terminal_info")
        return terminal is not None and not terminal.connected

    def _answer_without_broker(self, entry: Entry) -> tuple[Any, tuple[int, str]]:
        """What the terminal says without a broker (B17), said here: then it is certain that nothing was sent."""
        result = unexecuted(_NO_BROKER, entry.request)
        self._record(entry, State.REFUSED, result, str(_NO_BROKER), "the terminal has no connection to its broker")
        return result, SUCCESS

    def _refuse(self, entry: Entry, state: State, code: str, message: str) -> RefusedError:
        self._record(entry, state, None, code, message)
        return RefusedError(code, message)

    def _record(self, entry: Entry, state: State, result: Any, code: str, text: str) -> None:
        try:
            self._journal.settle(entry.client_order_id, state, result=result, code=code, text=text)
        except sqlite3.Error:
            # The row stays as it was on disk and is settled later: from the books, or as never sent.
            log.exception("the outcome of %s could not be written down", entry.client_order_id)

    @staticmethod
    def _recorded(entry: Entry, request: Mapping[str, Any]) -> Any:
        """The recorded outcome of an id that was used before."""
        if entry.request and dict(entry.request) != dict(request):  # without one it was given up before it came
            raise RefusedError("id_conflict", "this client order id was used for another request")
        match entry.state:
            case State.DONE:
                return entry.order_send_result()
            case State.REFUSED if entry.result is not None:
                return entry.order_send_result()
            case State.REFUSED | State.NOT_EXECUTED:
                raise RefusedError(
                    entry.code if entry.code.isidentifier() else "not_executed", entry.text or "the order was not sent"
                )
        raise RefusedError("outcome_unknown", "the outcome of this order is not known yet")

    def _read_books(self, entries: list[Entry]) -> Books | None:
        since = max(0, min(entry.broker_time for entry in entries) - _HISTORY_MARGIN_SECONDS)
        orders = self._link.call("orders_get")
        positions = self._link.call("positions_get")
        history_orders = self._link.call("history_orders_get", (since, _LAST_SECOND))
        deals = self._link.call("history_deals_get", (since, _LAST_SECOND))
        account = self._link.call("account_info")
        if orders is None or positions is None or history_orders is None or deals is None or account is None:
            return None
        return Books(orders, positions, history_orders, deals, hedging=account.margin_mode == _HEDGING)

    def _settle_one(self, entry: Entry, books: Books) -> None:
        order_id = entry.client_order_id
        finding = find(entry, books, self._journal.claimed(entry.watermark, order_id))
        if isinstance(finding, Finding):
            log.info("order %s is settled from the books: %s", order_id, finding.state)
            self._journal.settle(
                order_id, finding.state, result=finding.result, text="settled from the account's books"
            )
        elif finding is None:
            # Not since it was written down, for it may have been sent much later. An answer that says nothing may have
            # come late itself.
            sent_for = self._clock() - (entry.updated_at if entry.result else entry.sent_at or entry.created_at)
            if not_executed(
                connected_for=self._link.connected_for,
                sent_for=sent_for,
                missed_before=order_id in self._missed,
                answered=entry.result is not None and entry.result[0] == _NO_BROKER,
            ):
                log.info("order %s is settled from the books: not executed", order_id)
                self._journal.settle(
                    order_id, State.NOT_EXECUTED, code="not_executed", text="the account's books do not know it"
                )
                self._missed.discard(order_id)
            else:
                self._missed.add(order_id)


def _reason(error: RefusedError) -> tuple[str, str]:
    return error.code, error.message
