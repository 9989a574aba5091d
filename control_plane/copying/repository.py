"""All SQL of copy trading."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session, aliased

from control_plane.accounts.model import Account
from control_plane.copying.model import Copier, CopyInvitation, CopyLink, CopyStep
from control_plane.copying.state import CopierState, LinkState, StepKind, StepState
from control_plane.identity.owner import Owner
from control_plane.trading.model import Deal

_RUNNING = (CopierState.ACTIVE, CopierState.PAUSED)
_IN, _OUT = 0, (1, 3)
"""DEAL_ENTRY_IN, and DEAL_ENTRY_OUT with DEAL_ENTRY_OUT_BY."""
_LEAST_LOTS = 1e-6
"""Less than any broker trades: sums of lots are not exact."""


def copiers(session: Session, owner: Owner, *, ended: bool = True) -> list[Copier]:
    """Those that the user leads or follows with, the newest first; without `ended` those that are not stopped."""
    query = select(Copier).where(
        Copier.tenant_id == owner.tenant_id,
        or_(Copier.leader_user_id == owner.user_id, Copier.follower_user_id == owner.user_id),
    )
    if not ended:
        query = query.where(Copier.state.in_(_RUNNING))
    return list(session.scalars(query.order_by(Copier.id.desc())))


def copier(session: Session, owner: Owner, copier_id: str) -> Copier | None:
    query = select(Copier).where(
        Copier.tenant_id == owner.tenant_id,
        Copier.id == copier_id,
        or_(Copier.leader_user_id == owner.user_id, Copier.follower_user_id == owner.user_id),
    )
    return session.scalars(query).one_or_none()


def held(session: Session, copier_id: str) -> Copier | None:
    """Held until the transaction ends."""
    query = select(Copier).where(Copier.id == copier_id).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def running(session: Session) -> list[Copier]:
    """Of all tenants, as long as both accounts are connected."""
    leader, follower = aliased(Account), aliased(Account)
    query = (
        select(Copier)
        .join(leader, leader.id == Copier.leader_account_id)
        .join(follower, follower.id == Copier.follower_account_id)
        .where(Copier.state.in_(_RUNNING), leader.deleted_at.is_(None), follower.deleted_at.is_(None))
    )
    return list(session.scalars(query.order_by(Copier.id)))


def running_of_follower(session: Session, account_id: str) -> list[Copier]:
    query = select(Copier).where(Copier.follower_account_id == account_id, Copier.state.in_(_RUNNING))
    return list(session.scalars(query))


def hold_accounts(session: Session, account_ids: Collection[str]) -> None:
    """So that two who start copying at once cannot make a circle together."""
    query = select(Account.id).where(Account.id.in_(account_ids)).order_by(Account.id).with_for_update()
    session.scalars(query).all()


def links(session: Session, copier_id: str) -> list[CopyLink]:
    query = select(CopyLink).where(CopyLink.copier_id == copier_id, CopyLink.state != LinkState.CLOSED)
    return list(session.scalars(query))


def shown_links(session: Session, copier_id: str, limit: int) -> list[CopyLink]:
    """The newest first."""
    query = select(CopyLink).where(CopyLink.copier_id == copier_id)
    return list(session.scalars(query.order_by(CopyLink.changed_at.desc(), CopyLink.leader_ticket.desc()).limit(limit)))


def link(session: Session, copier_id: str, leader_ticket: int) -> CopyLink | None:
    return session.get(CopyLink, (copier_id, leader_ticket), populate_existing=True)


def known_tickets(session: Session, copier_id: str, tickets: Collection[int]) -> set[int]:
    query = select(CopyLink.leader_ticket).where(CopyLink.copier_id == copier_id, CopyLink.leader_ticket.in_(tickets))
    return set(session.scalars(query))


def count_open(session: Session, copier_id: str) -> int:
    query = select(func.count()).where(CopyLink.copier_id == copier_id, CopyLink.state == LinkState.OPEN)
    return session.scalar(query) or 0


def pending(session: Session, copier_id: str) -> list[CopyStep]:
    query = select(CopyStep).where(CopyStep.copier_id == copier_id, CopyStep.state == StepState.PENDING)
    return list(session.scalars(query.order_by(CopyStep.created_at, CopyStep.number)))


def last_refusals(session: Session, copier_id: str, since: datetime) -> dict[int, datetime]:
    """When a step was refused last, by the leader's ticket."""
    query = (
        select(CopyStep.leader_ticket, func.max(CopyStep.settled_at))
        .where(
            CopyStep.copier_id == copier_id,
            CopyStep.created_at >= since,
            CopyStep.state.in_((StepState.REFUSED, StepState.NOT_EXECUTED)),
        )
        .group_by(CopyStep.leader_ticket)
    )
    return {row[0]: row[1] for row in session.execute(query) if row[1] is not None}


def closed_by_deals(session: Session, account_id: str, tickets: Collection[int]) -> set[int]:
    """Those of these positions whose closing is in the trade log: as much has gone out of them as went in."""
    into = func.sum(case((Deal.entry == _IN, Deal.volume), else_=0.0))
    out = func.sum(case((Deal.entry.in_(_OUT), Deal.volume), else_=0.0))
    query = (
        select(Deal.position_ticket)
        .where(Deal.account_id == account_id, Deal.position_ticket.in_(tickets))
        .group_by(Deal.position_ticket)
        .having((into > 0) & (out >= into - _LEAST_LOTS))
    )
    return set(session.scalars(query)) if tickets else set()


def held_step(session: Session, step: CopyStep) -> CopyStep | None:
    query = select(CopyStep).where(
        CopyStep.copier_id == step.copier_id,
        CopyStep.leader_ticket == step.leader_ticket,
        CopyStep.number == step.number,
    )
    return session.scalars(query.with_for_update(), execution_options={"populate_existing": True}).one_or_none()


def steps(session: Session, copier_id: str, before: tuple[datetime, int, int] | None, limit: int) -> list[CopyStep]:
    """The newest first."""
    query = select(CopyStep).where(CopyStep.copier_id == copier_id)
    if before is not None:
        at, ticket, number = before
        same_moment = (CopyStep.created_at == at) & (
            (CopyStep.leader_ticket < ticket) | ((CopyStep.leader_ticket == ticket) & (CopyStep.number < number))
        )
        query = query.where((CopyStep.created_at < at) | same_moment)
    order = (CopyStep.created_at.desc(), CopyStep.leader_ticket.desc(), CopyStep.number.desc())
    return list(session.scalars(query.order_by(*order).limit(limit)))


def measured(session: Session, copier_id: str, limit: int) -> list[tuple[int, float | None]]:
    """Lag in milliseconds and slippage in points of the newest openings."""
    query = (
        select(CopyStep.lag_ms, CopyStep.slippage_points)
        .where(
            CopyStep.copier_id == copier_id,
            CopyStep.kind == StepKind.OPEN,
            CopyStep.state == StepState.DONE,
            CopyStep.lag_ms.is_not(None),
        )
        .order_by(CopyStep.created_at.desc())
        .limit(limit)
    )
    return [(lag, slippage) for lag, slippage in session.execute(query) if lag is not None]


def invitations(session: Session, owner: Owner) -> list[CopyInvitation]:
    query = select(CopyInvitation).where(
        CopyInvitation.tenant_id == owner.tenant_id, CopyInvitation.user_id == owner.user_id
    )
    return list(session.scalars(query.order_by(CopyInvitation.id.desc())))


def invitation(session: Session, owner: Owner, invitation_id: str) -> CopyInvitation | None:
    query = select(CopyInvitation).where(
        CopyInvitation.tenant_id == owner.tenant_id,
        CopyInvitation.user_id == owner.user_id,
        CopyInvitation.id == invitation_id,
    )
    return session.scalars(query).one_or_none()


def invitation_by_code(session: Session, code_hash: str, now: datetime, *, hold: bool) -> CopyInvitation | None:
    """One that may still be used, held until the transaction ends unless only seen."""
    query = select(CopyInvitation).where(
        CopyInvitation.code_hash == code_hash, CopyInvitation.used_at.is_(None), CopyInvitation.expires_at > now
    )
    return session.scalars(query.with_for_update() if hold else query).one_or_none()
