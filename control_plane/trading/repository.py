"""All SQL of orders, deals and equity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, literal, or_, select, union_all, update
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.db.direct import execute_for, is_own, table_of
from control_plane.db.tenancy import Statements, lasting
from control_plane.identity.owner import Owner
from control_plane.trading.model import Deal, EquitySample, IdempotencyKey, Order, OrderBatch
from control_plane.trading.state import UNSETTLED, OrderKind, OrderState

_AT_ONCE = 500
OUTCOME_COLUMNS = (
    "state",
    "retcode",
    "message",
    "order_ticket",
    "deal_ticket",
    "price",
    "settled_at",
    "look_again_at",
)
"""What an outcome changes of an order."""


@dataclass(frozen=True)
class OrderFilter:
    """Which orders to list; None for any. `since` is inclusive, `until` is not, both of their making."""

    state: OrderState | None = None
    kind: OrderKind | None = None
    caller_order_id: str | None = None
    asks_person: bool = False
    """Only those that a person has to look at."""
    symbol: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class DealFilter:
    """Which deals to list; None for any. `since` is inclusive, `until` is not, both of when they were recorded."""

    symbol: str | None = None
    position_ticket: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def order(session: Session, tenant_id: str, order_id: str) -> Order | None:
    query = select(Order).where(Order.tenant_id == tenant_id, Order.id == order_id)
    return session.scalars(query).one_or_none()


def locked_order(session: Session, tenant_id: str, order_id: str) -> Order | None:
    """The order, held until the transaction ends where the database can (SQLite holds everything anyway)."""
    query = select(Order).where(Order.tenant_id == tenant_id, Order.id == order_id).with_for_update()
    return session.scalars(query).one_or_none()


_WITH_ACCOUNT = lasting(
    select(Order, Account)
    .join(Account, Account.id == Order.account_id)
    .where(Order.tenant_id == bindparam("tenant_id"), Order.id == bindparam("order_id"))
    .with_for_update(of=Order)
)


def locked_order_of_account(session: Session, tenant_id: str, order_id: str) -> tuple[Order, Account] | None:
    """The same with its account, also when that was removed in the meantime."""
    row = session.execute(_WITH_ACCOUNT, {"tenant_id": tenant_id, "order_id": order_id}).one_or_none()
    return None if row is None else (row[0], row[1])


_ORDERS = table_of(Order)
_OUTCOME = (
    update(_ORDERS)
    .where(is_own(_ORDERS), _ORDERS.c.id == bindparam("order_id"), _ORDERS.c.state == OrderState.SENT)
    .values({_ORDERS.c[name]: bindparam(f"new_{name}") for name in OUTCOME_COLUMNS})
)


def settle_sent(session: Session, tenant_id: str, order_id: str, values: Mapping[str, Any]) -> bool:
    """Write the outcome of an order that was sent; `values` are those of OUTCOME_COLUMNS. False when something else
    has brought it forward since.
    """
    named = {f"new_{name}": value for name, value in values.items()}
    return execute_for(session, tenant_id, _OUTCOME, {"order_id": order_id, **named}).touched == 1


def orders_by_client_ids(session: Session, account_id: str, client_order_ids: Iterable[str]) -> list[Order]:
    """Held until the transaction ends."""
    query = select(Order).where(Order.account_id == account_id, Order.client_order_id.in_(list(client_order_ids)))
    return list(session.scalars(query.order_by(Order.id).with_for_update()))


def order_by_caller_id(session: Session, tenant_id: str, account_id: str, caller_order_id: str) -> Order | None:
    query = select(Order).where(
        Order.tenant_id == tenant_id, Order.account_id == account_id, Order.caller_order_id == caller_order_id
    )
    return session.scalars(query).one_or_none()


@dataclass(frozen=True)
class UsedKey:
    """What a user's Idempotency-Key has made, and for which request: one order or a batch."""

    request_hash: str
    order_id: str | None
    batch_id: str | None


_KEYS, _BATCHES = table_of(IdempotencyKey), table_of(OrderBatch)
_USED_KEY = union_all(
    *(
        select(table.c.request_hash, order_id, batch_id).where(
            is_own(table),
            table.c.user_id == bindparam("user_id"),
            table.c.key == bindparam("key"),
        )
        for table, order_id, batch_id in (
            (_KEYS, _KEYS.c.order_id, literal(None).label("batch_id")),
            (_BATCHES, literal(None), _BATCHES.c.id),
        )
    )
)


def used_key(session: Session | Statements, owner: Owner, key: str) -> UsedKey | None:
    row = execute_for(session, owner.tenant_id, _USED_KEY, {"user_id": owner.user_id, "key": key}).first()
    return None if row is None else UsedKey(*row)


def batch(session: Session, tenant_id: str, batch_id: str) -> OrderBatch | None:
    query = select(OrderBatch).where(OrderBatch.tenant_id == tenant_id, OrderBatch.id == batch_id)
    return session.scalars(query).one_or_none()


def orders_of_batch(session: Session, tenant_id: str, batch_id: str) -> list[Order]:
    """In the order in which they were written down."""
    query = select(Order).where(Order.tenant_id == tenant_id, Order.batch_id == batch_id)
    return list(session.scalars(query.order_by(Order.created_at, Order.id)))


def claim_for_sending(session: Session, tenant_id: str, order_id: str, now: datetime) -> bool:
    """Move an order from pending to sent; False when something else has settled it first."""
    moved = session.execute(
        update(Order)
        .where(Order.tenant_id == tenant_id, Order.id == order_id, Order.state == OrderState.PENDING)
        .values(state=OrderState.SENT, sent_at=now)
        .returning(Order.id)
    )
    return moved.scalar_one_or_none() is not None


def to_settle(session: Session, now: datetime, limit: int) -> list[tuple[Order, Account]]:
    """Orders whose outcome is open and due for a look, of all tenants."""
    query = (
        select(Order, Account)
        .join(Account, Account.id == Order.account_id)
        .where(Order.state.in_(UNSETTLED), Order.look_again_at <= now)
        .order_by(Order.look_again_at)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def orders(
    session: Session, owner: Owner, account_id: str, only: OrderFilter, before: tuple[datetime, str] | None, limit: int
) -> list[Order]:
    """Newest first."""
    query = select(Order).where(Order.tenant_id == owner.tenant_id, Order.account_id == account_id)
    if only.state is not None:
        query = query.where(Order.state == only.state)
    if only.kind is not None:
        query = query.where(Order.kind == only.kind)
    if only.caller_order_id is not None:
        query = query.where(Order.caller_order_id == only.caller_order_id)
    if only.asks_person:
        query = query.where(Order.state.in_(UNSETTLED), Order.asked_at.is_not(None))
    if only.symbol is not None:
        query = query.where(Order.symbol == only.symbol)
    if only.since is not None:
        query = query.where(Order.created_at >= only.since)
    if only.until is not None:
        query = query.where(Order.created_at < only.until)
    if before is not None:
        at, order_id = before
        query = query.where(or_(Order.created_at < at, and_(Order.created_at == at, Order.id < order_id)))
    return list(session.scalars(query.order_by(Order.created_at.desc(), Order.id.desc()).limit(limit)))


def deal(session: Session, tenant_id: str, deal_id: str) -> Deal | None:
    return session.scalars(select(Deal).where(Deal.tenant_id == tenant_id, Deal.id == deal_id)).one_or_none()


def known_deals(session: Session, account_id: str, tickets: Iterable[int]) -> set[int]:
    """Those of these tickets whose deals are written down."""
    query = select(Deal.ticket).where(Deal.account_id == account_id, Deal.ticket.in_(list(tickets)))
    return set(session.scalars(query))


def deal_id(session: Session, account_id: str, ticket: int) -> str:
    """Of a deal that is known."""
    return session.execute(select(Deal.id).where(Deal.account_id == account_id, Deal.ticket == ticket)).scalar_one()


def deals(
    session: Session, owner: Owner, account_id: str, only: DealFilter, before: tuple[int, int] | None, limit: int
) -> list[Deal]:
    """Newest first."""
    query = select(Deal).where(Deal.tenant_id == owner.tenant_id, Deal.account_id == account_id)
    if only.symbol is not None:
        query = query.where(Deal.symbol == only.symbol)
    if only.position_ticket is not None:
        query = query.where(Deal.position_ticket == only.position_ticket)
    if only.since is not None:
        query = query.where(Deal.recorded_at >= only.since)
    if only.until is not None:
        query = query.where(Deal.recorded_at < only.until)
    if before is not None:
        msc, ticket = before
        query = query.where(or_(Deal.broker_time_msc < msc, and_(Deal.broker_time_msc == msc, Deal.ticket < ticket)))
    return list(session.scalars(query.order_by(Deal.broker_time_msc.desc(), Deal.ticket.desc()).limit(limit)))


def entries_of_deals(session: Session, tenant_id: str, account_id: str, tickets: Iterable[int]) -> dict[int, int]:
    """Whether deals opened or closed (`DEAL_ENTRY_*`), by ticket."""
    query = select(Deal.ticket, Deal.entry).where(
        Deal.tenant_id == tenant_id, Deal.account_id == account_id, Deal.ticket.in_(list(tickets))
    )
    return dict(session.execute(query).all())


@dataclass(frozen=True, slots=True)
class EquityPoint:
    at: datetime
    balance: Decimal
    equity: Decimal


def equity(session: Session, owner: Owner, account_id: str, limit: int) -> list[EquitySample]:
    """At most `limit` samples spread evenly over the whole history, the newest always included; oldest first."""
    mine = (EquitySample.tenant_id == owner.tenant_id, EquitySample.account_id == account_id)
    total = session.scalar(select(func.count()).select_from(EquitySample).where(*mine)) or 0
    stride = -(-total // limit) or 1
    place = func.row_number().over(order_by=EquitySample.at.desc()).label("place")
    ranked = select(EquitySample, place).where(*mine).subquery()
    query = (
        select(EquitySample)
        .join(ranked, and_(ranked.c.account_id == EquitySample.account_id, ranked.c.at == EquitySample.at))
        .where((ranked.c.place - 1) % stride == 0)
        .order_by(EquitySample.at)
    )
    return list(session.scalars(query))


def accounts_with_equity(session: Session, after: str, rounds: int) -> list[str]:
    """Ids of the next accounts, of all tenants, so many that all have had their turn after `rounds` rounds."""
    total = session.scalar(select(func.count()).select_from(Account)) or 0
    query = select(Account.id).where(Account.id > after).order_by(Account.id)
    return list(session.scalars(query.limit(total // rounds + 1)))


def equity_moments(session: Session, account_id: str, since: datetime, until: datetime) -> list[datetime]:
    query = select(EquitySample.at).where(
        EquitySample.account_id == account_id, EquitySample.at >= since, EquitySample.at < until
    )
    return list(session.scalars(query))


def drop_equity(session: Session, account_id: str, moments: Sequence[datetime]) -> None:
    for start in range(0, len(moments), _AT_ONCE):
        some = moments[start : start + _AT_ONCE]
        session.execute(delete(EquitySample).where(EquitySample.account_id == account_id, EquitySample.at.in_(some)))
