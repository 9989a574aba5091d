"""All SQL of strategies that users have brought."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from control_plane.assignments.model import Assignment
from control_plane.bots.model import Bot
from control_plane.identity.owner import Owner
from control_plane.strategies.model import CustomStrategy, StrategyVersion
from control_plane.terminals.model import Terminal


@dataclass(frozen=True)
class VersionUser:
    """A bot that is set to a version."""

    version_id: str
    bot_id: str
    bot_name: str


def strategies(session: Session, owner: Owner, after_id: str | None, limit: int) -> list[CustomStrategy]:
    query = select(CustomStrategy).where(
        CustomStrategy.tenant_id == owner.tenant_id, CustomStrategy.user_id == owner.user_id
    )
    if after_id is not None:
        query = query.where(CustomStrategy.id > after_id)
    return list(session.scalars(query.order_by(CustomStrategy.id).limit(limit)))


def strategy(session: Session, owner: Owner, strategy_id: str) -> CustomStrategy | None:
    query = select(CustomStrategy).where(
        CustomStrategy.tenant_id == owner.tenant_id,
        CustomStrategy.user_id == owner.user_id,
        CustomStrategy.id == strategy_id,
    )
    return session.scalars(query).one_or_none()


def count(session: Session, owner: Owner) -> int:
    query = select(func.count()).select_from(CustomStrategy)
    return session.scalar(query.where(CustomStrategy.user_id == owner.user_id)) or 0


def versions(session: Session, tenant_id: str, strategy_ids: Collection[str]) -> list[StrategyVersion]:
    """Newest first."""
    query = select(StrategyVersion).where(
        StrategyVersion.tenant_id == tenant_id, StrategyVersion.strategy_id.in_(strategy_ids)
    )
    return list(session.scalars(query.order_by(StrategyVersion.number.desc())))


def version(session: Session, owner: Owner, version_id: str) -> StrategyVersion | None:
    query = (
        select(StrategyVersion)
        .join(CustomStrategy, CustomStrategy.id == StrategyVersion.strategy_id)
        .where(
            CustomStrategy.tenant_id == owner.tenant_id,
            CustomStrategy.user_id == owner.user_id,
            StrategyVersion.id == version_id,
        )
    )
    return session.scalars(query).one_or_none()


def versions_by_id(session: Session, version_ids: Collection[str]) -> dict[str, StrategyVersion]:
    query = select(StrategyVersion).where(StrategyVersion.id.in_(version_ids))
    return {each.id: each for each in session.scalars(query)}


def users(session: Session, tenant_id: str, version_ids: Collection[str]) -> list[VersionUser]:
    """Bots that are not deleted."""
    query = select(Bot.strategy, Bot.id, Bot.name).where(
        Bot.tenant_id == tenant_id, Bot.strategy.in_(version_ids), Bot.deleted_at.is_(None)
    )
    return [VersionUser(*row) for row in session.execute(query.order_by(Bot.id))]


def version_on_node(session: Session, node_id: str, sha256: str) -> StrategyVersion | None:
    """A version of these bytes that a bot on this node is set to; other nodes have no business with it."""
    query = (
        select(StrategyVersion)
        .join(Bot, Bot.strategy == StrategyVersion.id)
        .join(Terminal, Terminal.account_id == Bot.account_id)
        .join(Assignment, Assignment.terminal_id == Terminal.id)
        .where(StrategyVersion.sha256 == sha256, Assignment.node_id == node_id, Assignment.released_at.is_(None))
        .limit(1)
    )
    return session.scalars(query).first()


def uses_of_bytes(session: Session, tenant_id: str, sha256: str) -> int:
    query = select(func.count()).select_from(StrategyVersion)
    return session.scalar(query.where(StrategyVersion.tenant_id == tenant_id, StrategyVersion.sha256 == sha256)) or 0


def delete_strategy(session: Session, strategy_id: str) -> None:
    session.execute(delete(StrategyVersion).where(StrategyVersion.strategy_id == strategy_id))
    session.execute(delete(CustomStrategy).where(CustomStrategy.id == strategy_id))
