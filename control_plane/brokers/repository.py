"""All SQL of the broker server directory."""

from __future__ import annotations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from control_plane.brokers.model import BrokerServer


def by_name(session: Session, name: str) -> BrokerServer | None:
    return session.get(BrokerServer, name)


def search(session: Session, text: str, limit: int) -> list[BrokerServer]:
    """Servers whose name or company contains `text`, in any case."""
    query = select(BrokerServer).order_by(BrokerServer.name).limit(limit)
    if text:
        wanted = text.lower()
        query = query.where(
            or_(
                func.lower(BrokerServer.name).contains(wanted, autoescape=True),
                func.lower(BrokerServer.company).contains(wanted, autoescape=True),
            )
        )
    return list(session.scalars(query))


def all_names(session: Session) -> list[str]:
    return list(session.scalars(select(BrokerServer.name)))
