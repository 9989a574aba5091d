"""All SQL of the broker server directory."""

from __future__ import annotations

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.brokers.model import BrokerServer
from control_plane.releases.model import TemplatePin, TemplateTrial


def by_name(session: Session, name: str) -> BrokerServer | None:
    return session.get(BrokerServer, name)


def search(session: Session, text: str, limit: int) -> list[BrokerServer]:
    """Servers whose name, display name or company contains `text`, in any case."""
    query = select(BrokerServer).order_by(BrokerServer.name).limit(limit)
    if text:
        wanted = text.lower()
        query = query.where(
            or_(
                func.lower(BrokerServer.name).contains(wanted, autoescape=True),
                func.lower(BrokerServer.display_name).contains(wanted, autoescape=True),
                func.lower(BrokerServer.company).contains(wanted, autoescape=True),
            )
        )
    return list(session.scalars(query))


def all_names(session: Session) -> list[str]:
    return list(session.scalars(select(BrokerServer.name)))


def all_servers(session: Session) -> list[BrokerServer]:
    return list(session.scalars(select(BrokerServer).order_by(BrokerServer.name)))


def is_used(session: Session, name: str) -> bool:
    """Whether a row of any tenant names it."""
    columns = (Account.server, TemplatePin.server, TemplateTrial.server)
    return any(session.scalar(select(column).where(column == name).limit(1)) is not None for column in columns)


def delete_server(session: Session, name: str) -> None:
    session.execute(delete(BrokerServer).where(BrokerServer.name == name))
