"""All SQL of the broker's book as it is kept here: deals as they stand now, history orders, positions, differences."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.fleet.model import Node
from control_plane.identity.owner import Owner
from control_plane.terminals.model import Terminal, TerminalObservation
from control_plane.trading.ledger import DealFacts
from control_plane.trading.model import (
    BookDifference,
    Deal,
    DealCorrection,
    EquitySample,
    HistoryOrder,
    PositionSight,
    Reconciliation,
)
from control_plane.trading.state import DifferenceState
from node_agent.protocol.messages import Phase

_MONEY = frozenset({"commission", "swap", "profit", "fee"})
_FACTS = (
    Deal.ticket,
    Deal.order_ticket,
    Deal.broker_time_msc,
    Deal.type,
    Deal.entry,
    Deal.magic,
    Deal.position_ticket,
    Deal.reason,
    Deal.volume,
    Deal.price,
    Deal.commission,
    Deal.swap,
    Deal.profit,
    Deal.fee,
    Deal.symbol,
)
_SETTLED_AFTER_START = timedelta(minutes=5)
"""A terminal that comes and goes is not compared at each coming."""


@dataclass(frozen=True)
class Standing:
    """A deal as it stands now, and who said so last."""

    facts: DealFacts
    epoch: int
    observed_at: datetime | None
    """None for a deal that was never corrected."""
    corrections: int


def as_stored(facts: DealFacts, names: Iterable[str]) -> dict[str, Any]:
    """The named fields in a form that JSON keeps exactly."""
    shown = facts._asdict()
    return {name: str(shown[name]) if name in _MONEY else shown[name] for name in names}


def corrected(facts: DealFacts, after: dict[str, Any]) -> DealFacts:
    """With what a correction says."""
    changes: dict[str, Any] = {name: Decimal(each) if name in _MONEY else each for name, each in after.items()}
    return facts._replace(**changes)


def facts_of_row(row: Deal) -> DealFacts:
    """As it was written down."""
    return DealFacts._make(getattr(row, column.key) for column in _FACTS)


def standing(session: Session, account_id: str, ticket: int) -> Standing | None:
    row = session.execute(
        select(*_FACTS, Deal.epoch).where(Deal.account_id == account_id, Deal.ticket == ticket)
    ).one_or_none()
    if row is None:
        return None
    *fields, epoch = row
    observed_at: datetime | None
    facts, observed_at, number = DealFacts._make(fields), None, 0
    for each in corrections(session, account_id, [ticket]):
        facts = corrected(facts, each.after)
        epoch, observed_at, number = each.epoch, each.observed_at, each.number
    return Standing(facts, epoch, observed_at, number)


def corrections(session: Session, account_id: str, tickets: Collection[int] | None = None) -> list[DealCorrection]:
    """Of these deals, or of all; each deal's in the order they were made."""
    query = select(DealCorrection).where(DealCorrection.account_id == account_id)
    if tickets is not None:
        query = query.where(DealCorrection.ticket.in_(list(tickets)))
    return list(session.scalars(query.order_by(DealCorrection.ticket, DealCorrection.number)))


def all_facts(session: Session, account_id: str) -> list[DealFacts]:
    """Every deal as it stands now, in the order of the book."""
    query = select(*_FACTS).where(Deal.account_id == account_id)
    rows = session.execute(query.order_by(Deal.broker_time_msc, Deal.ticket))
    found = {row[0]: DealFacts._make(row) for row in rows}
    for each in corrections(session, account_id):
        found[each.ticket] = corrected(found[each.ticket], each.after)
    return list(found.values())


def deals_by_ticket(session: Session, account_id: str, tickets: Collection[int]) -> dict[int, DealFacts]:
    """These deals as they stand now."""
    query = select(*_FACTS).where(Deal.account_id == account_id, Deal.ticket.in_(list(tickets)))
    found = {row[0]: DealFacts._make(row) for row in session.execute(query)}
    for each in corrections(session, account_id, tickets):
        found[each.ticket] = corrected(found[each.ticket], each.after)
    return found


def all_history_orders(session: Session, account_id: str) -> list[HistoryOrder]:
    query = select(HistoryOrder).where(HistoryOrder.account_id == account_id)
    return list(session.scalars(query.order_by(HistoryOrder.time_done_msc, HistoryOrder.ticket)))


def history_orders(
    session: Session,
    owner: Owner,
    account_id: str,
    symbol: str | None,
    position_id: int | None,
    before: tuple[int, int] | None,
    limit: int,
) -> list[HistoryOrder]:
    """Newest first."""
    row = HistoryOrder
    query = select(row).where(row.tenant_id == owner.tenant_id, row.account_id == account_id)
    if symbol is not None:
        query = query.where(row.symbol == symbol)
    if position_id is not None:
        query = query.where(row.position_id == position_id)
    if before is not None:
        msc, ticket = before
        query = query.where(or_(row.time_done_msc < msc, and_(row.time_done_msc == msc, row.ticket < ticket)))
    return list(session.scalars(query.order_by(row.time_done_msc.desc(), row.ticket.desc()).limit(limit)))


def positions(session: Session, account_id: str) -> PositionSight | None:
    return session.scalars(select(PositionSight).where(PositionSight.account_id == account_id)).one_or_none()


def positions_seen(session: Session, account_id: str) -> tuple[int, datetime] | None:
    """Epoch and moment of the newest sight, without the positions."""
    row = session.execute(
        select(PositionSight.epoch, PositionSight.seen_at).where(PositionSight.account_id == account_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def equity_samples(session: Session, account_id: str) -> list[tuple[int, Decimal, Decimal]]:
    """Broker time in seconds, balance and equity of every point that has a broker time, oldest first."""
    row = EquitySample
    query = select(row.broker_time, row.balance, row.equity).where(row.account_id == account_id, row.broker_time > 0)
    return [(each[0], each[1], each[2]) for each in session.execute(query.order_by(row.at))]


@dataclass(frozen=True)
class Comparable:
    """An account whose book can be read now."""

    account: Account
    terminal: Terminal
    assignment: Assignment
    node: Node


def reconciliation(session: Session, account_id: str) -> Reconciliation | None:
    return session.scalars(select(Reconciliation).where(Reconciliation.account_id == account_id)).one_or_none()


def due_for_comparison(session: Session, now: datetime, every: timedelta, limit: int) -> list[Comparable]:
    """Accounts whose terminal is ready and that were never compared, are asked for, have suspects, run under a new
    epoch or since a new start, or were last compared longer than `every` ago; of all tenants, longest waiting first.
    """
    known = Reconciliation
    query = (
        select(Account, Terminal, Assignment, Node)
        .join(Terminal, Terminal.account_id == Account.id)
        .join(TerminalObservation, TerminalObservation.terminal_id == Terminal.id)
        .join(Assignment, and_(Assignment.terminal_id == Terminal.id, Assignment.released_at.is_(None)))
        .join(Node, Node.id == Assignment.node_id)
        .outerjoin(known, known.account_id == Account.id)
        .where(
            Account.deleted_at.is_(None),
            TerminalObservation.phase == Phase.READY,
            TerminalObservation.epoch == Assignment.epoch,
            or_(
                known.looked_at.is_(None),
                known.requested_at >= known.looked_at,
                known.look_again_at <= now,
                known.epoch != Assignment.epoch,
                known.looked_at <= now - every,
                and_(TerminalObservation.since > known.looked_at, known.looked_at <= now - _SETTLED_AFTER_START),
            ),
        )
        .order_by(func.coalesce(known.looked_at, Account.created_at))
        .limit(limit)
    )
    return [Comparable(*row) for row in session.execute(query)]


def differences_by_digest(session: Session, account_id: str) -> dict[str, BookDifference]:
    query = select(BookDifference).where(BookDifference.account_id == account_id)
    return {each.digest: each for each in session.scalars(query)}


def differences(
    session: Session,
    owner: Owner,
    account_id: str,
    state: DifferenceState | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[BookDifference]:
    """Newest first."""
    row = BookDifference
    query = select(row).where(row.tenant_id == owner.tenant_id, row.account_id == account_id)
    if state is not None:
        query = query.where(row.state == state)
    if before is not None:
        at, difference_id = before
        query = query.where(or_(row.found_at < at, and_(row.found_at == at, row.id < difference_id)))
    return list(session.scalars(query.order_by(row.found_at.desc(), row.id.desc()).limit(limit)))


def count_differences(session: Session, owner: Owner, account_id: str) -> dict[str, int]:
    """How many by state."""
    row = BookDifference
    query = select(row.state, func.count()).where(row.tenant_id == owner.tenant_id, row.account_id == account_id)
    return dict(session.execute(query.group_by(row.state)).all())
