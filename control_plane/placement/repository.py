"""All SQL of placement. It spans tenants, as the fleet does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Row, case, cast, func, select
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState
from control_plane.brokers.model import BrokerServer
from control_plane.fleet.model import Node
from control_plane.identity.model import Tenant
from control_plane.placement.model import Pool, TenantPlacement
from control_plane.terminals.model import Terminal


@dataclass(frozen=True)
class Load:
    """What the assignments of a node hold."""

    slots: int = 0
    memory: int = 0
    """Bytes."""
    unstarted: int = 0
    """Bytes for terminals that the node has not reported yet, so that its free memory does not show them."""


NOTHING = Load()
_SEEN = (
    Node.id,
    Node.name,
    Node.state,
    Node.identity_state,
    Node.availability,
    Node.runtimes,
    Node.slots,
    Node.strays,
    Node.report,
    Node.pool,
    Node.region,
    Node.labels,
    Node.dedicated_tenant_id,
    Node.outgoing_address,
    Node.seen_from,
)


def nodes(session: Session) -> list[Row[Any]]:
    """What placement has to know of every node."""
    return list(session.execute(select(*_SEEN).order_by(Node.id)))


def hold_nodes(session: Session, node_ids: Collection[str]) -> list[Row[Any]]:
    """The same of some nodes as they are now, held until the transaction ends.

    In the order of their ids, so that two of us never wait for each other.
    """
    query = select(*_SEEN).where(Node.id.in_(sorted(node_ids))).order_by(Node.id)
    return list(session.execute(query.with_for_update()))


def loads(session: Session, node_ids: Collection[str] | None = None) -> dict[str, Load]:
    """By node id, of the nodes that hold anything."""
    unstarted = case((Assignment.state == AssignmentState.RESERVED, Assignment.memory), else_=0)
    query = (
        select(
            Assignment.node_id,
            func.count(),
            cast(func.sum(Assignment.memory), BigInteger),
            cast(func.sum(unstarted), BigInteger),
        )
        .where(Assignment.released_at.is_(None))
        .group_by(Assignment.node_id)
    )
    if node_ids is not None:
        query = query.where(Assignment.node_id.in_(node_ids))
    return {node_id: Load(*held) for node_id, *held in session.execute(query)}


def pools(session: Session) -> list[Pool]:
    return list(session.scalars(select(Pool).order_by(Pool.name)))


def pool(session: Session, name: str) -> Pool | None:
    return session.get(Pool, name)


def nodes_in(session: Session, pool_name: str) -> int:
    return session.scalar(select(func.count()).select_from(Node).where(Node.pool == pool_name)) or 0


def nodes_by_pool(session: Session) -> dict[str, int]:
    return dict(session.execute(select(Node.pool, func.count()).group_by(Node.pool)).all())


def terminals_that_want(session: Session, pool_name: str) -> int:
    """Terminals that ask for this pool, and tenants whose terminals do."""
    asking = select(func.count()).select_from(Terminal).where(Terminal.wanted_pool == pool_name)
    tenants = select(func.count()).select_from(TenantPlacement).where(TenantPlacement.pool == pool_name)
    return (session.scalar(asking) or 0) + (session.scalar(tenants) or 0)


def tenant_placements(session: Session) -> list[TenantPlacement]:
    return list(session.scalars(select(TenantPlacement).order_by(TenantPlacement.tenant_id)))


def tenants(session: Session) -> list[Tenant]:
    return list(session.scalars(select(Tenant).order_by(Tenant.id)))


def foreign_terminals(session: Session, node_id: str, tenant_id: str) -> int:
    """How many terminals of other tenants hold a place there."""
    query = select(func.count()).where(
        Assignment.node_id == node_id, Assignment.released_at.is_(None), Assignment.tenant_id != tenant_id
    )
    return session.scalar(query) or 0


def owners_at(session: Session, companies: Collection[str]) -> list[tuple[str, str, str, str]]:
    """Company, node, and the first and the last by id of the users whose accounts at that real broker are there.

    Two tell whether there is anybody else than a given one.
    """
    query = (
        select(BrokerServer.company, Assignment.node_id, func.min(Account.user_id), func.max(Account.user_id))
        .join(Terminal, Terminal.id == Assignment.terminal_id)
        .join(Account, Account.id == Terminal.account_id)
        .join(BrokerServer, BrokerServer.name == Account.server)
        .where(
            Assignment.released_at.is_(None),
            BrokerServer.company.in_(companies),
            BrokerServer.simulated_address.is_(None),
        )
        .group_by(BrokerServer.company, Assignment.node_id)
    )
    return [(company, node_id, first, last) for company, node_id, first, last in session.execute(query)]
