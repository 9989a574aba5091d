"""All SQL of tickets."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from control_plane.access.model import RevokedTicket


def revoked_tickets(session: Session, node_ids: Collection[str], now: datetime) -> dict[str, list[str]]:
    """By node id, the ids of the tickets whose sessions there must not live, of all tenants."""
    query = select(RevokedTicket.node_id, RevokedTicket.ticket_id).where(
        RevokedTicket.node_id.in_(node_ids), RevokedTicket.expires_at > now
    )
    found: dict[str, list[str]] = {node_id: [] for node_id in node_ids}
    for node_id, ticket_id in session.execute(query.order_by(RevokedTicket.ticket_id)):
        found[node_id].append(ticket_id)
    return found


def count_revoked(session: Session, terminal_id: str, now: datetime) -> int:
    query = select(func.count()).select_from(RevokedTicket)
    return session.scalar(query.where(RevokedTicket.terminal_id == terminal_id, RevokedTicket.expires_at > now)) or 0


def revoke_ticket(session: Session, row: RevokedTicket) -> None:
    """Once is enough; a ticket that is revoked again stays revoked for as long as the newer row says."""
    session.merge(row)


def delete_expired_tickets(session: Session, now: datetime) -> None:
    session.execute(delete(RevokedTicket).where(RevokedTicket.expires_at <= now))
