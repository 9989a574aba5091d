"""All SQL of alerts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account, AccountSnapshotRow
from control_plane.alerts.model import (
    AlertDelivery,
    AlertNotice,
    AlertPreferences,
    AlertThreshold,
    TelegramChat,
    WebhookEndpoint,
    WebhookSecret,
)
from control_plane.alerts.state import AlertEvent, DeliveryState, EndpointState
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState
from control_plane.bots.model import Bot, BotObservation
from control_plane.bots.state import BotIntent
from control_plane.identity.model import User
from control_plane.identity.owner import Owner
from control_plane.terminals.model import Terminal, TerminalObservation
from control_plane.trading.model import Deal, EquitySample, Order
from control_plane.trading.state import OrderState
from node_agent.protocol.messages import BotPhase

_TRADES = (0, 1)
"""DEAL_TYPE_BUY and DEAL_TYPE_SELL: all others move money without a trade."""


def preferences(session: Session, user_id: str) -> AlertPreferences | None:
    return session.get(AlertPreferences, user_id, populate_existing=True)


def all_preferences(session: Session, user_ids: Collection[str]) -> dict[str, AlertPreferences]:
    query = select(AlertPreferences).where(AlertPreferences.user_id.in_(user_ids))
    return {each.user_id: each for each in session.scalars(query)}


def user(session: Session, user_id: str) -> User | None:
    return session.get(User, user_id)


def notice_by_key(session: Session, user_id: str, key: str) -> AlertNotice | None:
    query = select(AlertNotice).where(AlertNotice.user_id == user_id, AlertNotice.key == key)
    return session.scalars(query).one_or_none()


def newest_of(session: Session, user_id: str, event: AlertEvent, subject_id: str) -> AlertNotice | None:
    query = select(AlertNotice).where(
        AlertNotice.user_id == user_id, AlertNotice.event == event, AlertNotice.subject_id == subject_id
    )
    return session.scalars(query.order_by(AlertNotice.id.desc()).limit(1)).first()


def count_of(session: Session, user_id: str, event: AlertEvent, subject_id: str) -> int:
    query = select(func.count()).where(
        AlertNotice.user_id == user_id, AlertNotice.event == event, AlertNotice.subject_id == subject_id
    )
    return session.scalar(query) or 0


def lasting(session: Session, account_ids: Collection[str], since: datetime) -> list[AlertNotice]:
    """Notices of these accounts that hold or have ended since, the oldest first."""
    query = select(AlertNotice).where(
        AlertNotice.lasting.is_(True),
        AlertNotice.account_id.in_(account_ids),
        AlertNotice.resolved_at.is_(None) | (AlertNotice.resolved_at >= since),
    )
    return list(session.scalars(query.order_by(AlertNotice.id)))


def notices(
    session: Session,
    owner: Owner,
    *,
    unread: bool,
    event: AlertEvent | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[AlertNotice]:
    """The newest first."""
    query = select(AlertNotice).where(AlertNotice.tenant_id == owner.tenant_id, AlertNotice.user_id == owner.user_id)
    if unread:
        query = query.where(AlertNotice.read_at.is_(None))
    if event is not None:
        query = query.where(AlertNotice.event == event)
    if before is not None:
        at, notice_id = before
        query = query.where(
            or_(AlertNotice.raised_at < at, and_(AlertNotice.raised_at == at, AlertNotice.id < notice_id))
        )
    return list(session.scalars(query.order_by(AlertNotice.raised_at.desc(), AlertNotice.id.desc()).limit(limit)))


def notice(session: Session, notice_id: str) -> AlertNotice | None:
    return session.scalars(select(AlertNotice).where(AlertNotice.id == notice_id)).one_or_none()


def count_unread(session: Session, owner: Owner) -> int:
    query = select(func.count()).where(
        AlertNotice.tenant_id == owner.tenant_id, AlertNotice.user_id == owner.user_id, AlertNotice.read_at.is_(None)
    )
    return session.scalar(query) or 0


def mark_read(session: Session, owner: Owner, up_to: str | None, now: datetime) -> None:
    """All, or those up to the notice with this id."""
    query = update(AlertNotice).where(
        AlertNotice.tenant_id == owner.tenant_id, AlertNotice.user_id == owner.user_id, AlertNotice.read_at.is_(None)
    )
    if up_to is not None:
        query = query.where(AlertNotice.id <= up_to)
    session.execute(query.values(read_at=now).execution_options(synchronize_session=False))


def endpoints(session: Session, owner: Owner) -> list[WebhookEndpoint]:
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.tenant_id == owner.tenant_id, WebhookEndpoint.user_id == owner.user_id
    )
    return list(session.scalars(query.order_by(WebhookEndpoint.id)))


def endpoint(session: Session, owner: Owner, endpoint_id: str, *, hold: bool = True) -> WebhookEndpoint | None:
    """Held until the transaction ends unless only seen."""
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.tenant_id == owner.tenant_id,
        WebhookEndpoint.user_id == owner.user_id,
        WebhookEndpoint.id == endpoint_id,
    )
    return session.scalars(query.with_for_update() if hold else query).one_or_none()


def active_endpoints(session: Session, user_id: str) -> list[WebhookEndpoint]:
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.user_id == user_id, WebhookEndpoint.state == EndpointState.ACTIVE
    )
    return list(session.scalars(query.order_by(WebhookEndpoint.id)))


def secrets_of(session: Session, endpoint_id: str, now: datetime) -> list[WebhookSecret]:
    """Those that sign, the newest first."""
    query = select(WebhookSecret).where(
        WebhookSecret.endpoint_id == endpoint_id,
        WebhookSecret.expires_at.is_(None) | (WebhookSecret.expires_at > now),
    )
    return list(session.scalars(query.order_by(WebhookSecret.id.desc())))


def delete_endpoint(session: Session, row: WebhookEndpoint) -> None:
    session.execute(delete(WebhookSecret).where(WebhookSecret.endpoint_id == row.id))
    session.execute(delete(AlertDelivery).where(AlertDelivery.endpoint_id == row.id))
    session.delete(row)


def delivery(session: Session, delivery_id: str) -> AlertDelivery | None:
    """Held until the transaction ends."""
    return session.scalars(select(AlertDelivery).where(AlertDelivery.id == delivery_id).with_for_update()).one_or_none()


def deliveries(session: Session, endpoint_id: str, before: str | None, limit: int) -> list[AlertDelivery]:
    """The newest first."""
    query = select(AlertDelivery).where(AlertDelivery.endpoint_id == endpoint_id)
    if before is not None:
        query = query.where(AlertDelivery.id < before)
    return list(session.scalars(query.order_by(AlertDelivery.id.desc()).limit(limit)))


def was_delivered_since(session: Session, endpoint_id: str, since: datetime) -> bool:
    query = select(AlertDelivery.id).where(
        AlertDelivery.endpoint_id == endpoint_id,
        AlertDelivery.state == DeliveryState.DELIVERED,
        AlertDelivery.finished_at >= since,
    )
    return session.scalar(query.limit(1)) is not None


def has_due_delivery(session: Session, now: datetime) -> bool:
    query = select(AlertDelivery.id).where(
        AlertDelivery.state == DeliveryState.PENDING,
        AlertDelivery.handed_over.is_(False),
        AlertDelivery.due_at <= now,
    )
    return session.scalar(query.limit(1)) is not None


def due_deliveries(session: Session, now: datetime, limit: int) -> list[AlertDelivery]:
    """Of all users: those whose time has come and for which no job exists yet, held."""
    query = (
        select(AlertDelivery)
        .where(
            AlertDelivery.state == DeliveryState.PENDING,
            AlertDelivery.handed_over.is_(False),
            AlertDelivery.due_at <= now,
        )
        .order_by(AlertDelivery.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def users_with_due_digest(session: Session, now: datetime) -> list[str]:
    query = select(AlertDelivery.user_id).where(
        AlertDelivery.state == DeliveryState.DIGEST, AlertDelivery.due_at <= now
    )
    return list(session.scalars(query.distinct()))


def digest_of(session: Session, user_id: str, now: datetime, limit: int) -> list[AlertDelivery]:
    """Everything that waits for the user's digest, held; the oldest first."""
    query = (
        select(AlertDelivery)
        .where(
            AlertDelivery.user_id == user_id,
            AlertDelivery.state == DeliveryState.DIGEST,
            AlertDelivery.due_at <= now,
        )
        .order_by(AlertDelivery.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def notices_of_message(session: Session, user_id: str, message_id: str) -> list[AlertNotice]:
    """What went out together under one message id, the oldest first."""
    query = (
        select(AlertNotice)
        .join(AlertDelivery, AlertDelivery.notice_id == AlertNotice.id)
        .where(AlertDelivery.user_id == user_id, AlertDelivery.message_id == message_id)
    )
    return list(session.scalars(query.order_by(AlertNotice.id)))


def thresholds(session: Session, owner: Owner) -> list[AlertThreshold]:
    query = select(AlertThreshold).where(
        AlertThreshold.tenant_id == owner.tenant_id, AlertThreshold.user_id == owner.user_id
    )
    return list(session.scalars(query.order_by(AlertThreshold.id)))


def threshold(session: Session, owner: Owner, threshold_id: str) -> AlertThreshold | None:
    query = select(AlertThreshold).where(
        AlertThreshold.tenant_id == owner.tenant_id,
        AlertThreshold.user_id == owner.user_id,
        AlertThreshold.id == threshold_id,
    )
    return session.scalars(query).one_or_none()


def chat(session: Session, user_id: str) -> TelegramChat | None:
    return session.get(TelegramChat, user_id, populate_existing=True)


def chat_by_code(session: Session, code_hash: str, now: datetime) -> TelegramChat | None:
    query = select(TelegramChat).where(TelegramChat.code_hash == code_hash, TelegramChat.code_expires_at > now)
    return session.scalars(query.with_for_update()).one_or_none()


@dataclass(frozen=True, slots=True)
class WatchedAccount:
    id: str
    tenant_id: str
    user_id: str
    label: str
    login: int


@dataclass(frozen=True, slots=True)
class WatchedTerminal:
    intent: str
    hold: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class WatchedObservation:
    epoch: int
    phase: str
    reason: str | None
    last_answer_at: datetime | None
    reported_at: datetime


@dataclass(frozen=True, slots=True)
class WatchedPlace:
    id: str
    terminal_id: str
    epoch: int
    state: str


@dataclass(frozen=True, slots=True)
class WatchedFigures:
    equity: Decimal
    margin: Decimal


@dataclass(frozen=True, slots=True)
class Watched:
    """An account with what is judged of it, as columns: all accounts there are, are looked at again and again."""

    account: WatchedAccount
    terminal: WatchedTerminal
    observation: WatchedObservation | None
    assignment: WatchedPlace | None
    figures: WatchedFigures | None


def watched(session: Session, after: str, limit: int) -> list[Watched]:
    """Accounts of all users, in the order of their ids."""
    terminal, seen, place, figures = Terminal, TerminalObservation, Assignment, AccountSnapshotRow
    query = (
        select(
            *(Account.id, Account.tenant_id, Account.user_id, Account.label, Account.login),
            *(terminal.intent, terminal.hold, terminal.changed_at),
            *(seen.epoch, seen.phase, seen.reason, seen.last_answer_at, seen.reported_at),
            *(place.id, place.terminal_id, place.epoch, place.state),
            *(figures.equity, figures.margin),
        )
        .join(terminal, terminal.account_id == Account.id)
        .outerjoin(seen, seen.terminal_id == terminal.id)
        .outerjoin(place, (place.terminal_id == terminal.id) & place.released_at.is_(None))
        .outerjoin(figures, figures.account_id == Account.id)
        .where(Account.deleted_at.is_(None), Account.id > after)
        .order_by(Account.id)
        .limit(limit)
    )
    return [_watched(row) for row in session.execute(query)]


def _watched(row: Any) -> Watched:
    """Of the columns of `watched`, in their order; those of a row that there is not are None."""
    return Watched(
        WatchedAccount(*row[0:5]),
        WatchedTerminal(*row[5:8]),
        None if row[8] is None else WatchedObservation(*row[8:13]),
        None if row[13] is None else WatchedPlace(*row[13:17]),
        None if row[17] is None else WatchedFigures(*row[17:19]),
    )


def peaks(session: Session, account_ids: Collection[str]) -> dict[str, Decimal]:
    """The highest equity known, by account."""
    query = select(EquitySample.account_id, func.max(EquitySample.equity))
    query = query.where(EquitySample.account_id.in_(account_ids)).group_by(EquitySample.account_id)
    return dict(session.execute(query).all())


def unknown_orders(session: Session, account_ids: Collection[str], before: datetime) -> list[tuple[str, str]]:
    """Account and id of orders whose outcome is not known and that were sent before that moment."""
    query = select(Order.account_id, Order.id).where(
        Order.account_id.in_(account_ids), Order.state == OrderState.UNKNOWN, Order.created_at <= before
    )
    return [(row[0], row[1]) for row in session.execute(query.order_by(Order.id))]


def stopped_bots(session: Session, account_ids: Collection[str]) -> list[tuple[str, str, str]]:
    """Account, id and name of bots that should run and have failed."""
    query = (
        select(Bot.account_id, Bot.id, Bot.name)
        .join(BotObservation, BotObservation.bot_id == Bot.id)
        .where(
            Bot.account_id.in_(account_ids),
            Bot.deleted_at.is_(None),
            Bot.intent == BotIntent.RUNNING,
            BotObservation.revision == Bot.revision,
            BotObservation.phase == BotPhase.FAILED,
        )
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query.order_by(Bot.id))]


def thresholds_of(session: Session, account_ids: Collection[str]) -> list[AlertThreshold]:
    query = select(AlertThreshold).where(AlertThreshold.account_id.in_(account_ids))
    return list(session.scalars(query.order_by(AlertThreshold.id)))


def is_moved(assignment: WatchedPlace) -> bool:
    return assignment.epoch > 1 and assignment.state == AssignmentState.ACTIVE


def figures(session: Session, account_id: str, since: datetime, until: datetime) -> tuple[int, Decimal]:
    """How many deals closed something in that time, and what all trades of it brought, with their costs."""
    closed = func.coalesce(func.sum(case((Deal.entry != 0, 1), else_=0)), 0)
    result = func.coalesce(func.sum(Deal.profit + Deal.commission + Deal.swap + Deal.fee), 0)
    query = select(closed, result).where(
        Deal.account_id == account_id,
        Deal.recorded_at >= since,
        Deal.recorded_at < until,
        Deal.type.in_(_TRADES),
    )
    number, brought = session.execute(query).one()
    return int(number), Decimal(brought)


def users_with_accounts(session: Session) -> list[tuple[str, str]]:
    """Id and tenant of all users who have an account."""
    query = select(Account.user_id, Account.tenant_id).where(Account.deleted_at.is_(None)).distinct()
    return [(row[0], row[1]) for row in session.execute(query)]


def accounts_of(session: Session, user_id: str) -> list[tuple[Account, AccountSnapshotRow | None]]:
    query = (
        select(Account, AccountSnapshotRow)
        .outerjoin(AccountSnapshotRow, AccountSnapshotRow.account_id == Account.id)
        .where(Account.user_id == user_id, Account.deleted_at.is_(None))
    )
    return [(row[0], row[1]) for row in session.execute(query.order_by(Account.id))]


def delete_older(session: Session, notices_before: datetime, deliveries_before: datetime) -> None:
    session.execute(delete(AlertDelivery).where(AlertDelivery.created_at < deliveries_before))
    session.execute(
        delete(AlertNotice).where(
            AlertNotice.raised_at < notices_before,
            AlertNotice.lasting.is_(False) | AlertNotice.resolved_at.is_not(None),
        )
    )
