"""Place orders: written down and committed first, sent at most once, then settled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access import repository as access_repository
from control_plane.access.market import Market
from control_plane.access.port import LinkLostError, RefusedError, Target, TerminalDoor, TerminalSession
from control_plane.access.service import answering_target, ask, not_ready, refusal_error, target_that_answers
from control_plane.accounts.service import require_account, require_view
from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.db.bulk import insert_row
from control_plane.db.engine import Database
from control_plane.db.tenancy import Statements
from control_plane.errors import ConflictError, FarmError, NotFoundError
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.trading import outcome, repository
from control_plane.trading.model import IdempotencyKey, Order, OrderBatch
from control_plane.trading.outcome import Outcome
from control_plane.trading.preparation import Preparation, Prepared
from control_plane.trading.repository import UsedKey
from control_plane.trading.schemas import (
    CancelAll,
    CancelPending,
    CloseAll,
    CloseBy,
    ClosePosition,
    ModifyPending,
    ModifyPosition,
    OrderPreview,
    PlaceOrder,
    ResolveOrder,
)
from control_plane.trading.service import TradeLog
from control_plane.trading.settlement import FIRST_LOOK
from control_plane.trading.state import OrderState, OrderType
from node_agent.protocol.tickets import Scope

_logger = structlog.get_logger(__name__)


_Earlier = TypeVar("_Earlier")
_NOWHERE = Target("", "", "", 0)
_REUSED = "This Idempotency-Key was used for another request."


@dataclass(frozen=True)
class Attempt:
    """One request of a user to trade, as far as repeating it goes."""

    owner: Owner
    account_id: str
    key: str
    request_hash: str
    caller_order_id: str | None = None

    @classmethod
    def of(cls, owner: Owner, account_id: str, key: str, verb: str, ticket: int | None, wish: BaseModel) -> Attempt:
        # What was not said is left out, so that a field that a later version adds does not make it another request.
        said = wish.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps({"account": account_id, "verb": verb, "ticket": ticket, "wish": said}, sort_keys=True)
        name = getattr(wish, "client_order_id", None)
        return cls(owner, account_id, key, hashlib.sha256(text.encode()).hexdigest(), name)


class OrderDesk:
    """Each verb writes a wish down and sends it at most once; the same key and wish give the same answer again.

    They raise InvalidInputError and NotFoundError before anything is sent, and ConflictError when the terminal is not
    ready or the key was used for something else. What the broker refuses is an order in state refused, not an error.
    """

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
        """Open a position at the market, or place a pending order; `magic` says whose it is."""
        attempt = Attempt.of(owner, account_id, key, f"open {magic}" if magic else "open", None, wish)

        def prepare(look: Preparation) -> Prepared:
            prepared = look.opening(wish)
            return replace(prepared, request={**prepared.request, "magic": magic}) if magic else prepared

        return self._carry_out(attempt, prepare)

    def close(self, owner: Owner, account_id: str, key: str, ticket: int, wish: ClosePosition) -> Order:
        """Close a position, or part of it."""
        attempt = Attempt.of(owner, account_id, key, "close", ticket, wish)
        return self._carry_out(attempt, lambda look: look.closing(ticket, wish))

    def close_by(self, owner: Owner, account_id: str, key: str, ticket: int, wish: CloseBy) -> Order:
        """Close two opposite positions of a hedging account by each other."""
        attempt = Attempt.of(owner, account_id, key, "close_by", ticket, wish)
        return self._carry_out(attempt, lambda look: look.closing_by(ticket, wish))

    def modify_position(self, owner: Owner, account_id: str, key: str, ticket: int, wish: ModifyPosition) -> Order:
        """Set a position's stops."""
        attempt = Attempt.of(owner, account_id, key, "modify_position", ticket, wish)
        return self._carry_out(attempt, lambda look: look.stops(ticket, wish))

    def modify_pending(self, owner: Owner, account_id: str, key: str, ticket: int, wish: ModifyPending) -> Order:
        """Set a pending order's prices, stops and end of life."""
        attempt = Attempt.of(owner, account_id, key, "modify_pending", ticket, wish)
        return self._carry_out(attempt, lambda look: look.change(ticket, wish))

    def cancel(self, owner: Owner, account_id: str, key: str, ticket: int, wish: CancelPending) -> Order:
        """Cancel a pending order."""
        attempt = Attempt.of(owner, account_id, key, "cancel", ticket, wish)
        return self._carry_out(attempt, lambda look: look.cancelling(ticket))

    def earlier(self, owner: Owner, key: str) -> Order | None:
        """The order that this key has made, if it has made one."""
        with self._database.read(owner.tenant_id) as session:
            used = repository.used_key(session, owner, key)
            return (
                None
                if used is None or used.order_id is None
                else repository.order(session, owner.tenant_id, used.order_id)
            )

    def close_all(self, owner: Owner, account_id: str, key: str, wish: CloseAll) -> tuple[OrderBatch, Sequence[Order]]:
        """Close many positions; each is an order of its own, and one that fails does not keep the others open."""
        attempt = Attempt.of(owner, account_id, key, "close_all", None, wish)
        return self._carry_out_all(attempt, lambda look: look.closing_all(wish))

    def cancel_all(
        self, owner: Owner, account_id: str, key: str, wish: CancelAll
    ) -> tuple[OrderBatch, Sequence[Order]]:
        """Cancel many pending orders, as `close_all` closes."""
        attempt = Attempt.of(owner, account_id, key, "cancel_all", None, wish)
        return self._carry_out_all(attempt, lambda look: look.cancelling_all(wish))

    def preview(self, owner: Owner, account_id: str, wish: PlaceOrder) -> OrderPreview:
        """What an order would need and risk. Sends nothing, writes nothing."""
        with self._database.read(owner.tenant_id) as session:
            target = answering_target(session, owner, account_id, self._clock)
        return ask(self._door, target, lambda terminal: Preparation(self._market, terminal, target).preview(wish))

    def resolve(self, owner: Owner, account_id: str, order_id: str, wish: ResolveOrder) -> Order:
        """Take a person's word for an outcome that the farm could not find out.

        Raises NotFoundError, and ConflictError for an order that nobody was asked about.
        """
        with self._database.write(owner.tenant_id) as session:
            account = require_account(session, owner, account_id)
            row = repository.locked_order(session, owner.tenant_id, order_id)
            if row is None or row.account_id != account_id:
                raise NotFoundError("There is no such order.", code="order_not_found")
            if not row.asks_person:
                text = "The farm knows what became of this order, or is still finding out by itself."
                raise ConflictError(text, code="order_not_unknown")
            before = {"state": row.state}
            row.resolved_by = owner.user_id
            self._log.apply(session, row, account, outcome.of_person(wish.happened, wish.note))
            deed = Deed(owner.user_id, "order_resolve", order_id, wish.note, before=before, after={"state": row.state})
            self._audit.record(session, owner.tenant_id, deed)
        return row

    def _carry_out(self, attempt: Attempt, prepare: Callable[[Preparation], Prepared]) -> Order:
        target, earlier = self._begin(attempt, self._earlier)
        if earlier is not None:
            return earlier
        return self._over_a_fresh_link(lambda: self._try(attempt, target, prepare))

    def _carry_out_all(
        self, attempt: Attempt, prepare: Callable[[Preparation], list[Prepared]]
    ) -> tuple[OrderBatch, Sequence[Order]]:
        target, earlier = self._begin(attempt, self._earlier_batch)
        if earlier is not None:
            return earlier
        batch, fresh = self._over_a_fresh_link(lambda: self._try_all(attempt, target, prepare))
        self._send_all(attempt, target, fresh)
        with self._database.read(attempt.owner.tenant_id) as session:
            return batch, repository.orders_of_batch(session, attempt.owner.tenant_id, batch.id)

    def _begin(
        self, attempt: Attempt, earlier_of: Callable[[Session, Attempt], _Earlier | None]
    ) -> tuple[Target, _Earlier | None]:
        """How to reach the terminal, and what this key has made before; then the terminal need not be there."""
        with self._database.look(attempt.owner.tenant_id) as facts:
            target = access_repository.answering_target(facts, attempt.owner, attempt.account_id)
            used = repository.used_key(facts, attempt.owner, attempt.key)
        if target is not None and used is None:
            return target, None
        with self._database.read(attempt.owner.tenant_id) as session:
            # Looked at more closely only where it has to be said why the terminal does not answer.
            view = None if target is not None else require_view(session, attempt.owner, attempt.account_id)
            earlier = earlier_of(session, attempt)
        if earlier is not None:
            return _NOWHERE, earlier
        if target is None:
            assert view is not None
            target = target_that_answers(view, self._clock.now())
        return target, None

    @staticmethod
    def _over_a_fresh_link(work: Callable[[], _Earlier]) -> _Earlier:
        """Only a link that broke before anything was written down comes out of `work`: it is tried twice."""
        try:
            return work()
        except LinkLostError:
            pass
        try:
            return work()
        except LinkLostError as error:
            raise not_ready("The link to the terminal was lost; nothing was sent. Please try again.") from error

    def _try(self, attempt: Attempt, target: Target, prepare: Callable[[Preparation], Prepared]) -> Order:
        with self._open(attempt, target) as terminal:
            try:
                prepared = prepare(Preparation(self._market, terminal, target))
            except RefusedError as refusal:
                raise refusal_error(refusal) from refusal
            except FarmError:
                # Sessions of one user with a terminal come one after the other: the first attempt may be done by now,
                # and what it did (a position closed) must not make the second one fail.
                with self._database.read(attempt.owner.tenant_id) as session:
                    earlier = self._earlier(session, attempt)
                if earlier is None:
                    raise
                return earlier
            order, is_new = self._write_down(attempt, target, prepared)
            if not is_new:
                return order
            return self._send_written(terminal, attempt.owner, order, prepared.request)

    def _try_all(
        self, attempt: Attempt, target: Target, prepare: Callable[[Preparation], list[Prepared]]
    ) -> tuple[OrderBatch, list[tuple[Order, Mapping[str, Any]]]]:
        """The batch, and its orders that are to be sent: none when this request was there before."""
        with self._open(attempt, target) as terminal:
            try:
                prepared = prepare(Preparation(self._market, terminal, target))
            except RefusedError as refusal:
                raise refusal_error(refusal) from refusal
        try:
            return self._insert_batch(attempt, target, prepared)
        except IntegrityError:
            with self._database.read(attempt.owner.tenant_id) as session:
                earlier = self._earlier_batch(session, attempt)
            if earlier is None:
                raise
            return earlier[0], []

    def _send_all(self, attempt: Attempt, target: Target, fresh: Sequence[tuple[Order, Mapping[str, Any]]]) -> None:
        """A link that breaks costs the order that was on it its answer; the next goes over a new one."""
        waiting = list(reversed(fresh))
        while waiting:
            try:
                with self._open(attempt, target) as terminal:
                    while waiting:
                        order, request = waiting.pop()
                        if self._claim(order):
                            self._send_written(terminal, attempt.owner, order, request, break_with_link=True)
            except LinkLostError:
                continue
            except ConflictError:
                for order, _ in waiting:
                    self._settle(attempt.owner, order, outcome.NOT_EXECUTED)
                return

    def _send_written(
        self,
        terminal: TerminalSession,
        owner: Owner,
        order: Order,
        request: Mapping[str, Any],
        *,
        break_with_link: bool = False,
    ) -> Order:
        # Joins the request's id to the order's, under which journal and trade log have all that follows.
        _logger.info("order_sent", order=order.id, epoch=order.epoch)
        try:
            news = _send(terminal, order.id, request)
        except LinkLostError:
            settled = self._settle(owner, order, outcome.UNKNOWN)
            if break_with_link:
                raise
            return settled
        return self._settle(owner, order, news)

    def _open(self, attempt: Attempt, target: Target) -> AbstractContextManager[TerminalSession]:
        return self._door.session(target, Scope.TRADE, f"user:{attempt.owner.user_id}")

    def _earlier(self, session: Session, attempt: Attempt) -> Order | None:
        """The order that this key has made before."""
        used = _used(session, attempt)
        if used is None or used.order_id is None:
            return None
        return repository.order(session, attempt.owner.tenant_id, used.order_id)

    def _earlier_batch(self, session: Session, attempt: Attempt) -> tuple[OrderBatch, Sequence[Order]] | None:
        """The orders that this key has made before, all at once."""
        used = _used(session, attempt)
        if used is None or used.batch_id is None:
            return None
        batch = repository.batch(session, attempt.owner.tenant_id, used.batch_id)
        return None if batch is None else (batch, repository.orders_of_batch(session, batch.tenant_id, batch.id))

    def _write_down(self, attempt: Attempt, target: Target, prepared: Prepared) -> tuple[Order, bool]:
        """The committed intent, and whether it is new: a repetition may have overtaken this request."""
        failure: IntegrityError | None = None
        try:
            order = self._insert(attempt, target, prepared)
            if order is not None:
                return order, True
        except IntegrityError as error:
            # The caller's name for it is taken, or another control plane has written the same key down since we looked.
            failure = error
        with self._database.read(attempt.owner.tenant_id) as session:
            earlier = self._earlier(session, attempt)
            if earlier is None and attempt.caller_order_id is not None:
                self._require_new_name(session, attempt)
        if earlier is None:
            assert failure is not None  # a key that made many orders at once was for another request
            raise failure
        return earlier, False

    def _insert(self, attempt: Attempt, target: Target, prepared: Prepared) -> Order | None:
        """Written down as sent in one transaction, for it is sent next; None for a key that was used meanwhile.

        If it is not sent (this process dies), nobody else sends it: it is given up in the bridge's journal. Raises
        IntegrityError.
        """
        owner = attempt.owner
        with self._database.note(owner.tenant_id) as session:
            if repository.used_key(session, owner, attempt.key) is not None:
                return None
            order = self._intent(session, new_id("ord"), attempt, target, prepared)
            insert_row(session, order)
            insert_row(
                session,
                IdempotencyKey(
                    user_id=owner.user_id,
                    key=attempt.key,
                    tenant_id=owner.tenant_id,
                    request_hash=attempt.request_hash,
                    order_id=order.id,
                    created_at=order.created_at,
                ),
            )
        return order

    def _insert_batch(
        self, attempt: Attempt, target: Target, prepared: Sequence[Prepared]
    ) -> tuple[OrderBatch, list[tuple[Order, Mapping[str, Any]]]]:
        """All or none. Those that cannot be right are refused at once; the others are claimed when their turn comes."""
        owner = attempt.owner
        with self._database.write(owner.tenant_id) as session:
            earlier = self._earlier_batch(session, attempt)
            if earlier is not None:
                return earlier[0], []
            batch = OrderBatch(
                id=new_id("bat"),
                tenant_id=owner.tenant_id,
                account_id=attempt.account_id,
                user_id=owner.user_id,
                key=attempt.key,
                request_hash=attempt.request_hash,
                created_at=self._clock.now(),
            )
            session.add(batch)
            ids = sorted(new_id("ord") for _ in prepared)  # those of one millisecond do not sort as they are made
            added = [
                (self._intent(session, order_id, attempt, target, each, batch.id), each)
                for order_id, each in zip(ids, prepared, strict=True)
            ]
            session.add_all(order for order, _ in added)
            for order, each in added:
                if each.refusal:
                    refused = Outcome(OrderState.REFUSED, f"Nothing was sent: {each.refusal}")
                    self._log.apply(session, order, require_account(session, owner, attempt.account_id), refused)
        return batch, [(order, each.request) for order, each in added if not each.refusal]

    def _intent(
        self,
        session: Session | Statements,
        order_id: str,
        attempt: Attempt,
        target: Target,
        prepared: Prepared,
        batch_id: str | None = None,
    ) -> Order:
        """The wish as it is to be written down, which the audit trail is told: sent, unless it is one of a batch."""
        now, owner, levels = self._clock.now(), attempt.owner, prepared.levels
        state = OrderState.SENT if batch_id is None else OrderState.PENDING
        order = Order(
            id=order_id,
            tenant_id=owner.tenant_id,
            account_id=attempt.account_id,
            client_order_id=order_id,
            caller_order_id=attempt.caller_order_id,
            batch_id=batch_id,
            principal=f"user:{owner.user_id}",
            epoch=target.epoch,
            kind=prepared.kind,
            type=prepared.type,
            side=prepared.side,
            symbol=prepared.symbol,
            volume=prepared.volume,
            wished_price=levels.price or None,
            stop_limit_price=levels.stop_limit_price or None,
            expiration=None if prepared.type is OrderType.MARKET else levels.expiration,
            expires_broker_time=levels.expires_broker_time or None,
            stop_loss=levels.stop_loss or None,
            take_profit=levels.take_profit or None,
            position_ticket=prepared.position_ticket,
            position_by_ticket=prepared.position_by_ticket,
            pending_ticket=prepared.pending_ticket,
            state=state,
            retcode=0,
            message="",
            order_ticket=0,
            deal_ticket=0,
            price=0.0,
            created_at=now,
            sent_at=now if state is OrderState.SENT else None,
            look_again_at=now + FIRST_LOOK,
        )
        facts = {"symbol": order.symbol, "side": order.side, "volume": order.volume, "account": order.account_id}
        deed = Deed(owner.user_id, f"order_{order.kind}", order_id, "", after=facts)
        self._audit.record(session, owner.tenant_id, deed)
        return order

    def _require_new_name(self, session: Session, attempt: Attempt) -> None:
        named = attempt.caller_order_id or ""
        known = repository.order_by_caller_id(session, attempt.owner.tenant_id, attempt.account_id, named)
        if known is not None:
            text = f"The order {known.id} has this client_order_id already. Give each order of an account its own."
            raise ConflictError(text, code="client_order_id_used")

    def _claim(self, order: Order) -> bool:
        with self._database.write(order.tenant_id) as session:
            return repository.claim_for_sending(session, order.tenant_id, order.id, self._clock.now())

    def _settle(self, owner: Owner, order: Order, news: Outcome) -> Order:
        """The order as it is now. Recoverable: an order that is sent and not settled is asked for in the journal."""
        with self._database.write(order.tenant_id, recoverable=True) as session:
            if self._log.apply_to_sent(session, order, owner.user_id, news):
                return order
            # Found also when the account was removed in the meantime: what was sent must be settled.
            held = repository.locked_order_of_account(session, order.tenant_id, order.id)
            assert held is not None  # orders are never deleted
            row, account = held
            self._log.apply(session, row, account, news)
            return row


def _used(session: Session, attempt: Attempt) -> UsedKey | None:
    """What this key has made before. Raises ConflictError when that was for another request."""
    used = repository.used_key(session, attempt.owner, attempt.key)
    if used is not None and used.request_hash != attempt.request_hash:
        raise ConflictError(_REUSED, code="idempotency_key_reused")
    return used


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
