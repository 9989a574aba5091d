"""All SQL of terminal templates."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from control_plane.releases.model import TemplatePin, TemplateTrial, TerminalTemplate


def template(session: Session, template_id: str) -> TerminalTemplate | None:
    return session.get(TerminalTemplate, template_id)


def by_digest(session: Session, sha256: str) -> TerminalTemplate | None:
    return session.scalars(select(TerminalTemplate).where(TerminalTemplate.sha256 == sha256)).one_or_none()


def templates(session: Session) -> list[TerminalTemplate]:
    """Oldest first."""
    return list(session.scalars(select(TerminalTemplate).order_by(TerminalTemplate.id)))


def pin(session: Session, server: str) -> TemplatePin | None:
    return session.get(TemplatePin, server)


def pins(session: Session) -> list[TemplatePin]:
    return list(session.scalars(select(TemplatePin).order_by(TemplatePin.server)))


def trial(session: Session, server: str) -> TemplateTrial | None:
    return session.get(TemplateTrial, server)


def trials(session: Session) -> list[TemplateTrial]:
    return list(session.scalars(select(TemplateTrial).order_by(TemplateTrial.server)))


def on_nodes(session: Session, node_ids: Collection[str]) -> dict[str, dict[str, TerminalTemplate]]:
    """By node id and broker server: what its terminals run there. A trial goes before a pin."""
    pinned = select(TemplatePin.server, TerminalTemplate).join(
        TerminalTemplate, TerminalTemplate.id == TemplatePin.template_id
    )
    tried = (
        select(TemplateTrial.node_id, TemplateTrial.server, TerminalTemplate)
        .join(TerminalTemplate, TerminalTemplate.id == TemplateTrial.template_id)
        .where(TemplateTrial.node_id.in_(node_ids))
    )
    everywhere = dict(session.execute(pinned).all())
    found = {node_id: dict(everywhere) for node_id in node_ids}
    for node_id, server, template in session.execute(tried):
        found[node_id][server] = template
    return found


def delete_trial(session: Session, server: str) -> None:
    session.execute(delete(TemplateTrial).where(TemplateTrial.server == server))


def servers_that_use(session: Session, template_id: str) -> list[str]:
    """Also those that could roll back to it."""
    pinned = select(TemplatePin.server).where(
        or_(TemplatePin.template_id == template_id, TemplatePin.previous_id == template_id)
    )
    tried = select(TemplateTrial.server).where(TemplateTrial.template_id == template_id)
    return sorted({*session.scalars(pinned), *session.scalars(tried)})
