"""All SQL of bots."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Double, Select, and_, case, cast, delete, func, or_, select, type_coerce, update
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.bots.model import Bot, BotChange, BotLogLine, BotObservation, PaperDeal
from control_plane.bots.state import ALIVE, BotIntent
from control_plane.db.types import Money
from control_plane.identity.owner import Owner
from control_plane.trading.model import Deal

_OPENING_ENTRIES = (0, 2)
_REVERSAL = 2
_PAPER_PROFIT = cast(PaperDeal.profit, Double)
"""Code of users says what it made on paper, and no sum of that may overflow."""
_LOT_TOLERANCE = 1e-8
"""Below it nothing is open."""


@dataclass(frozen=True)
class BotView:
    bot: Bot
    observation: BotObservation | None


@dataclass(frozen=True)
class ObservedBotRow:
    bot: Bot
    observation: BotObservation | None
    user_id: str


@dataclass(frozen=True)
class BotResult:
    """What the deals with a bot's magic number came to."""

    trades: int
    profit: Decimal


@dataclass(frozen=True)
class BotFilter:
    """Which bots to list; None for any."""

    account_id: str | None = None
    intent: BotIntent | None = None
    strategy: str | None = None


def views(session: Session, owner: Owner, only: BotFilter, after_id: str | None, limit: int) -> list[BotView]:
    query = _views(owner).order_by(Bot.id).limit(limit)
    if only.account_id is not None:
        query = query.where(Bot.account_id == only.account_id)
    if only.intent is not None:
        query = query.where(Bot.intent == only.intent)
    if only.strategy is not None:
        query = query.where(Bot.strategy == only.strategy)
    if after_id is not None:
        query = query.where(Bot.id > after_id)
    return [BotView(*row) for row in session.execute(query)]


def view(session: Session, owner: Owner, bot_id: str) -> BotView | None:
    row = session.execute(_views(owner).where(Bot.id == bot_id)).one_or_none()
    return None if row is None else BotView(*row)


def held(session: Session, tenant_id: str, bot_id: str) -> Bot:
    """As it is now, held until the transaction ends where the database can (SQLite holds everything)."""
    query = select(Bot).where(Bot.tenant_id == tenant_id, Bot.id == bot_id)
    return session.scalars(query.with_for_update(), execution_options={"populate_existing": True}).one()


def results(session: Session, tenant_id: str, bots: list[Bot]) -> dict[str, BotResult]:
    """By bot id; bots without deals are left out."""
    if not bots:
        return {}
    opened = func.sum(case((Deal.entry.in_(_OPENING_ENTRIES), 1), else_=0))
    net = type_coerce(func.sum(Deal.profit + Deal.commission + Deal.swap + Deal.fee), Money)
    query = (
        select(Bot.id, opened, net)
        .join(Deal, and_(Deal.account_id == Bot.account_id, Deal.magic == Bot.magic))
        .where(Deal.tenant_id == tenant_id, Bot.id.in_([bot.id for bot in bots]))
        .group_by(Bot.id)
    )
    return {bot_id: BotResult(int(count), profit) for bot_id, count, profit in session.execute(query)}


def paper_results(session: Session, tenant_id: str, bots: list[Bot]) -> dict[str, BotResult]:
    """What was filled on paper, by bot id; bots without any are left out."""
    if not bots:
        return {}
    opened = func.sum(case((PaperDeal.entry == "in", 1), else_=0))
    query = (
        select(PaperDeal.bot_id, opened, type_coerce(func.sum(_PAPER_PROFIT), Money))
        .where(PaperDeal.tenant_id == tenant_id, PaperDeal.bot_id.in_([bot.id for bot in bots]))
        .group_by(PaperDeal.bot_id)
    )
    return {bot_id: BotResult(int(count), profit) for bot_id, count, profit in session.execute(query)}


def paper_deals(
    session: Session, tenant_id: str, bot_id: str, before: tuple[datetime, str] | None, limit: int
) -> list[tuple[PaperDeal, Decimal]]:
    """Newest first, each with the sum of all profits up to it."""
    so_far = func.sum(_PAPER_PROFIT).over(order_by=(PaperDeal.at, PaperDeal.id), rows=(None, 0))
    numbered = (
        select(PaperDeal.id.label("deal_id"), type_coerce(so_far, Money).label("total"))
        .where(PaperDeal.tenant_id == tenant_id, PaperDeal.bot_id == bot_id)
        .subquery()
    )
    query = select(PaperDeal, numbered.c.total).join(numbered, numbered.c.deal_id == PaperDeal.id)
    if before is not None:
        at, deal_id = before
        query = query.where(or_(PaperDeal.at < at, and_(PaperDeal.at == at, PaperDeal.id < deal_id)))
    rows = session.execute(query.order_by(PaperDeal.at.desc(), PaperDeal.id.desc()).limit(limit))
    return [(deal, total) for deal, total in rows]


def knows_paper_deal(session: Session, bot_id: str, event_id: str) -> bool:
    query = select(PaperDeal.id).where(PaperDeal.bot_id == bot_id, PaperDeal.event_id == event_id)
    return session.scalar(query) is not None


def highest_magic(session: Session, server: str, login: int) -> int | None:
    """Of all bots that an MT5 login ever had here, deleted ones and those of earlier connections included.

    Their positions may still be open at the broker, and a bot takes positions of its magic number for its own.
    """
    query = (
        select(func.max(Bot.magic))
        .join(Account, Account.id == Bot.account_id)
        .where(Account.server == server, Account.login == login)
    )
    return session.scalar(query)


def names_by_magic(session: Session, tenant_id: str, account_id: str) -> dict[int, str]:
    """Bot ids of an account by magic number, also of deleted bots."""
    query = select(Bot.magic, Bot.id).where(Bot.tenant_id == tenant_id, Bot.account_id == account_id)
    return dict(session.execute(query).all())


def running_of_accounts(session: Session, account_ids: list[str]) -> list[Bot]:
    query = select(Bot).where(Bot.account_id.in_(account_ids), Bot.intent.in_(ALIVE), Bot.deleted_at.is_(None))
    return list(session.scalars(query.order_by(Bot.id)))


def of_account(session: Session, tenant_id: str, account_id: str, bot_id: str) -> Bot | None:
    query = select(Bot).where(Bot.tenant_id == tenant_id, Bot.account_id == account_id, Bot.id == bot_id)
    return session.scalars(query).one_or_none()


def observed(session: Session, account_ids: Collection[str]) -> list[ObservedBotRow]:
    """All bots of these accounts with what was last observed of them, of all tenants."""
    query = (
        select(Bot, BotObservation, Account.user_id)
        .join(Account, Account.id == Bot.account_id)
        .outerjoin(BotObservation, BotObservation.bot_id == Bot.id)
        .where(Bot.account_id.in_(account_ids), Bot.deleted_at.is_(None))
    )
    with session.no_autoflush:  # nothing of this is written before, and what else waits may go on waiting
        return [ObservedBotRow(*row) for row in session.execute(query)]


def by_magic(session: Session, tenant_id: str, account_id: str, magic: int) -> Bot | None:
    query = select(Bot).where(Bot.tenant_id == tenant_id, Bot.account_id == account_id, Bot.magic == magic)
    return session.scalars(query).one_or_none()


def delete_of_account(session: Session, tenant_id: str, account_id: str, now: datetime) -> None:
    session.execute(
        update(Bot)
        .where(Bot.tenant_id == tenant_id, Bot.account_id == account_id, Bot.deleted_at.is_(None))
        .values(deleted_at=now, intent=BotIntent.STOPPED)
    )


def known_log_events(session: Session, bot_id: str, event_ids: list[str]) -> set[str]:
    query = select(BotLogLine.event_id).where(BotLogLine.bot_id == bot_id, BotLogLine.event_id.in_(event_ids))
    return set(session.scalars(query))


def log_lines(
    session: Session, tenant_id: str, bot_id: str, level: str | None, before: tuple[datetime, str] | None, limit: int
) -> list[BotLogLine]:
    """Newest first; of one level or of all."""
    query = select(BotLogLine).where(BotLogLine.tenant_id == tenant_id, BotLogLine.bot_id == bot_id)
    if level is not None:
        query = query.where(BotLogLine.level == level)
    if before is not None:
        at, line_id = before
        query = query.where(or_(BotLogLine.at < at, and_(BotLogLine.at == at, BotLogLine.id < line_id)))
    return list(session.scalars(query.order_by(BotLogLine.at.desc(), BotLogLine.id.desc()).limit(limit)))


def delete_old_log_lines(session: Session, before: datetime) -> None:
    session.execute(delete(BotLogLine).where(BotLogLine.at < before))


def changes(session: Session, tenant_id: str, bot_id: str, before: str | None, limit: int) -> list[BotChange]:
    """Newest first; ids sort by the time they were made."""
    query = select(BotChange).where(BotChange.tenant_id == tenant_id, BotChange.bot_id == bot_id)
    if before is not None:
        query = query.where(BotChange.id < before)
    return list(session.scalars(query.order_by(BotChange.id.desc()).limit(limit)))


def change(session: Session, tenant_id: str, bot_id: str, change_id: str) -> BotChange | None:
    query = select(BotChange).where(
        BotChange.tenant_id == tenant_id, BotChange.bot_id == bot_id, BotChange.id == change_id
    )
    return session.scalars(query).one_or_none()


def running_of_user(session: Session, owner: Owner) -> list[Bot]:
    """On all accounts, the oldest first."""
    query = select(Bot).join(Account, Account.id == Bot.account_id).where(Account.user_id == owner.user_id)
    alive = query.where(Bot.tenant_id == owner.tenant_id, Bot.intent.in_(ALIVE), Bot.deleted_at.is_(None))
    return list(session.scalars(alive.order_by(Bot.id)))


def holds_positions(session: Session, bot: Bot) -> bool:
    """Whether the recorded deals leave a position open that the bot has opened, whoever closed a part of it.

    A deal that reversed a position of a netting account counts as open.
    """
    opened = select(Deal.position_ticket).where(
        Deal.account_id == bot.account_id, Deal.magic == bot.magic, Deal.entry.in_(_OPENING_ENTRIES)
    )
    held = case((Deal.entry == 0, Deal.volume), (Deal.entry == _REVERSAL, Deal.volume), else_=-Deal.volume)
    query = (
        select(Deal.position_ticket)
        .where(Deal.tenant_id == bot.tenant_id, Deal.account_id == bot.account_id, Deal.position_ticket.in_(opened))
        .group_by(Deal.position_ticket)
        .having(func.sum(held) > _LOT_TOLERANCE)
        .limit(1)
    )
    return session.scalar(query) is not None


def holds_on_paper(session: Session, bot: Bot) -> bool:
    """Whether what it has filled on paper leaves a position open."""
    held = case((PaperDeal.entry == "in", PaperDeal.volume), else_=-PaperDeal.volume)
    query = (
        select(PaperDeal.position)
        .where(PaperDeal.tenant_id == bot.tenant_id, PaperDeal.bot_id == bot.id)
        .group_by(PaperDeal.position)
        .having(func.sum(held) > _LOT_TOLERANCE)
        .limit(1)
    )
    return session.scalar(query) is not None


def _views(owner: Owner) -> Select[Bot, BotObservation]:
    return (
        select(Bot, BotObservation)
        .join(Account, Account.id == Bot.account_id)
        .outerjoin(BotObservation, BotObservation.bot_id == Bot.id)
        .where(Bot.tenant_id == owner.tenant_id, Account.user_id == owner.user_id, Bot.deleted_at.is_(None))
    )
