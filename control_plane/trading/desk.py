"""Place orders: written down and committed first, sent at most once, then settled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.market import Market
from control_plane.access.port import LinkLostError, RefusedError, Target, TerminalDoor, TerminalSession
from control_plane.access.service import answering_target, not_ready, refusal_error
from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.service import require_account
from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import ConflictError, NotFoundError
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.trading import outcome, repository, requests
from control_plane.trading.model import IdempotencyKey, Order
from control_plane.trading.outcome import Outcome
from control_plane.trading.schemas import ClosePosition, PlaceOrder
from control_plane.trading.service import TradeLog
from control_plane.trading.settlement import FIRST_LOOK
from control_plane.trading.state import OrderKind, OrderState, Side
from control_plane.trading.validation import check_volume
from node_agent.protocol.tickets import Scope

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One request of a user to trade, as far as repeating it goes."""

    owner: Owner
    account_id: str
    key: str
    request_hash: str

    @classmethod
    def of(cls, owner: Owner, account_id: str, key: str, what: Mapping[str, Any]) -> Attempt:
        text = json.dumps({"account": account_id, **what}, sort_keys=True)
        return cls(owner, account_id, key, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class _Prepared:
    """An order that has passed all checks, and what to send for it."""

    kind: OrderKind
    side: Side
    symbol: str
    volume: float
    stop_loss: float | None
    take_profit: float | None
    position_ticket: int | None
    request: Mapping[str, Any]


class OrderDesk:
    def __init__(
        self, database: Database, door: TerminalDoor, market: Market, log: TradeLog, audit: Audit, clock: Clock
    ) -> None:
        self._database = database
        self._door = door
        self._market = market
        self._log = log
        self._audit = audit
        self._clock = clock

    def place(self, owner: Owner, account_id: str, key: str, wish: PlaceOrder, *, magic: int = 0) -> Order:
        """Open a position at the market. The same key and wish give the same order, without sending it again.

        Raises InvalidInputError before anything is sent, ConflictError when the terminal is not ready or the key was
        used for something else. What the broker refuses is an order in state refused, not an error.
        """
        marked = {"magic": magic} if magic else {}
        attempt = Attempt.of(owner, account_id, key, {"open": wish.model_dump(mode="json"), **marked})

        def prepare(terminal: TerminalSession, target: Target) -> _Prepared:
            prepared = self._prepare_open(terminal, target, wish)
            return replace(prepared, request={**prepared.request, **marked})

        return self._carry_out(attempt, prepare)

    def close(self, owner: Owner, account_id: str, key: str, ticket: int, wish: ClosePosition) -> Order:
        """Close a position, or part of it. Raises NotFoundError when it is not open, otherwise as `place`."""
        attempt = Attempt.of(owner, account_id, key, {"close": ticket, **wish.model_dump(mode="json")})

        def prepare(terminal: TerminalSession, target: Target) -> _Prepared:
            return self._prepare_close(terminal, target, ticket, wish.volume)

        return self._carry_out(attempt, prepare)

    def move_stops(
        self, owner: Owner, account_id: str, key: str, ticket: int, stop_loss: float, take_profit: float
    ) -> Order:
        """Change a position's stop loss and take profit, 0 for none. Raises as `close`."""
        stops = {"sl": stop_loss, "tp": take_profit}
        attempt = Attempt.of(owner, account_id, key, {"stops": ticket, **stops})

        def prepare(terminal: TerminalSession, target: Target) -> _Prepared:  # noqa: ARG001 - as the others
            position = _require_position(terminal, ticket)
            side = Side.SELL if position.type else Side.BUY
            request = requests.move_stops(position, stop_loss, take_profit)
            return _Prepared(
                OrderKind.OTHER,
                side,
                position.symbol,
                position.volume,
                stop_loss or None,
                take_profit or None,
                ticket,
                request,
            )

        return self._carry_out(attempt, prepare)

    def earlier(self, owner: Owner, key: str) -> Order | None:
        """The order that this key has made, if it has made one."""
        with self._database.read(owner.tenant_id) as session:
            used = repository.idempotency(session, owner, key)
            return None if used is None else repository.order(session, owner.tenant_id, used.order_id)

    def _carry_out(self, attempt: Attempt, prepare: Any) -> Order:
        with self._database.read(attempt.owner.tenant_id) as session:
            require_account(session, attempt.owner, attempt.account_id)
            earlier = self._earlier(session, attempt)
            if earlier is not None:
                return earlier
            target = answering_target(session, attempt.owner, attempt.account_id, self._clock)
        try:
            return self._try(attempt, target, prepare)
        except LinkLostError:
            # Only a link that broke before anything was written down comes out here: a fresh one may be tried.
            pass
        try:
            return self._try(attempt, target, prepare)
        except LinkLostError as error:
            raise not_ready("The link to the terminal was lost; nothing was sent. Please try again.") from error

    def _try(self, attempt: Attempt, target: Target, prepare: Any) -> Order:
        with self._open(attempt, target) as terminal:
            # Sessions of one user with a terminal come one after the other: the first attempt may be done by now,
            # and what it did (a position closed) must not make the second one fail.
            with self._database.read(attempt.owner.tenant_id) as session:
                earlier = self._earlier(session, attempt)
            if earlier is not None:
                return earlier
            try:
                prepared = prepare(terminal, target)
            except RefusedError as refusal:
                raise refusal_error(refusal) from refusal
            order, is_new = self._write_down(attempt, target, prepared)
            if not is_new or not self._claim(order):
                return self._read(order)
            # Joins the request's id to the order's, under which journal and trade log have all that follows.
            _logger.info("order_sent", order=order.id, terminal=target.terminal_id, epoch=target.epoch)
            try:
                news = _send(terminal, order.id, prepared.request)
            except LinkLostError:
                self._settle(order, outcome.UNKNOWN)
                return self._read(order)
            self._settle(order, news)
            return self._read(order)

    def _open(self, attempt: Attempt, target: Target) -> AbstractContextManager[TerminalSession]:
        return self._door.session(target, Scope.TRADE, f"user:{attempt.owner.user_id}")

    def _prepare_open(self, terminal: TerminalSession, target: Target, wish: PlaceOrder) -> _Prepared:
        spec = self._market.spec(terminal, target, wish.symbol)
        check_volume(wish.volume, spec)
        if not spec.visible:
            terminal.symbol_select(spec.name, True)
        price = requests.market_price(terminal.symbol_info_tick(spec.name), wish.side)
        request = requests.open_position(spec, wish, price)
        return _Prepared(
            OrderKind.OPEN, wish.side, spec.name, wish.volume, wish.stop_loss, wish.take_profit, None, request
        )

    def _prepare_close(self, terminal: TerminalSession, target: Target, ticket: int, volume: float | None) -> _Prepared:
        position = _require_position(terminal, ticket)
        spec = self._market.spec(terminal, target, position.symbol)
        lots = position.volume if volume is None else volume
        if volume is not None:  # the whole of what is open is never wrong, whatever the symbol's limits are today
            check_volume(volume, spec, position.volume)
        side = Side.BUY if position.type else Side.SELL
        price = requests.market_price(terminal.symbol_info_tick(spec.name), side)
        request = requests.close_position(spec, position, side, lots, price)
        return _Prepared(OrderKind.CLOSE, side, spec.name, lots, None, None, ticket, request)

    def _earlier(self, session: Session, attempt: Attempt) -> Order | None:
        """The order that this key has made before."""
        used = repository.idempotency(session, attempt.owner, attempt.key)
        if used is None:
            return None
        if used.request_hash != attempt.request_hash:
            raise ConflictError("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
        return repository.order(session, attempt.owner.tenant_id, used.order_id)

    def _write_down(self, attempt: Attempt, target: Target, prepared: _Prepared) -> tuple[Order, bool]:
        """The committed intent, and whether it is new: a repetition may have overtaken this request."""
        try:
            return self._insert(attempt, target, prepared)
        except IntegrityError:
            # Another control plane has written the same key down since we looked.
            with self._database.read(attempt.owner.tenant_id) as session:
                earlier = self._earlier(session, attempt)
            if earlier is None:
                raise
            return earlier, False

    def _insert(self, attempt: Attempt, target: Target, prepared: _Prepared) -> tuple[Order, bool]:
        now = self._clock.now()
        owner = attempt.owner
        with self._database.write(owner.tenant_id) as session:
            earlier = self._earlier(session, attempt)
            if earlier is not None:
                return earlier, False
            order_id = new_id("ord")
            order = Order(
                id=order_id,
                tenant_id=owner.tenant_id,
                account_id=attempt.account_id,
                client_order_id=order_id,
                principal=f"user:{owner.user_id}",
                epoch=target.epoch,
                kind=prepared.kind,
                side=prepared.side,
                symbol=prepared.symbol,
                volume=prepared.volume,
                stop_loss=prepared.stop_loss,
                take_profit=prepared.take_profit,
                position_ticket=prepared.position_ticket,
                state=OrderState.PENDING,
                retcode=0,
                message="",
                order_ticket=0,
                deal_ticket=0,
                price=0.0,
                created_at=now,
                look_again_at=now + FIRST_LOOK,
            )
            session.add(order)
            session.flush()
            facts = {"symbol": order.symbol, "side": order.side, "volume": order.volume, "account": order.account_id}
            self._audit.record(
                session, owner.tenant_id, Deed(owner.user_id, f"order_{order.kind}", order_id, "", after=facts)
            )
            session.add(
                IdempotencyKey(
                    user_id=owner.user_id,
                    key=attempt.key,
                    tenant_id=owner.tenant_id,
                    request_hash=attempt.request_hash,
                    order_id=order_id,
                    created_at=now,
                )
            )
        return order, True

    def _claim(self, order: Order) -> bool:
        with self._database.write(order.tenant_id) as session:
            return repository.claim_for_sending(session, order.tenant_id, order.id, self._clock.now())

    def _settle(self, order: Order, news: Outcome) -> None:
        with self._database.write(order.tenant_id) as session:
            # Found also when the account was removed in the meantime: what was sent must be settled.
            account = accounts_repository.of_tenant(session, order.tenant_id, order.account_id)
            row = repository.locked_order(session, order.tenant_id, order.id)
            if row is not None and account is not None:
                self._log.apply(session, row, account, news)

    def _read(self, order: Order) -> Order:
        with self._database.read(order.tenant_id) as session:
            row = repository.order(session, order.tenant_id, order.id)
        assert row is not None
        return row


def _require_position(terminal: TerminalSession, ticket: int) -> Any:
    """Raises NotFoundError."""
    position = terminal.position(ticket)
    if position is None:
        raise NotFoundError("This position is not open (any more).", code="position_not_found")
    return position


def _send(terminal: TerminalSession, order_id: str, request: Mapping[str, Any]) -> Outcome:
    """Send once, and read what came of it; a missing answer is looked up in the bridge's journal."""
    try:
        result = terminal.send_once(order_id, request)
    except RefusedError as refusal:
        news = outcome.of_refusal(refusal)
    else:
        news = outcome.UNKNOWN if result is None else outcome.of_result(result)
    if news.state is not OrderState.UNKNOWN:
        return news
    try:
        row = terminal.outcome(order_id)
    except RefusedError:
        return news
    known = news if row is None else outcome.of_journal(row)
    return known if known.state not in {OrderState.PENDING, OrderState.SENT} else news
