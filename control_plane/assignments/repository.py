"""All SQL of assignments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState
from control_plane.brokers.model import BrokerServer
from control_plane.terminals.model import Terminal


@dataclass(frozen=True)
class Placement:
    """A living assignment with what the node must know to carry it out."""

    assignment: Assignment
    terminal: Terminal
    account: Account
    server: BrokerServer


def alive(session: Session, tenant_id: str, terminal_id: str) -> Assignment | None:
    query = select(Assignment).where(
        Assignment.tenant_id == tenant_id,
        Assignment.terminal_id == terminal_id,
        Assignment.released_at.is_(None),
    )
    return session.scalars(query).one_or_none()


def of_node(session: Session, node_id: str) -> list[Placement]:
    """All that a node holds, of all tenants."""
    return of_nodes(session, [node_id])[node_id]


def of_nodes(session: Session, node_ids: Collection[str]) -> dict[str, list[Placement]]:
    """All that these nodes hold, by node id, of all tenants."""
    found: dict[str, list[Placement]] = {node_id: [] for node_id in node_ids}
    for row in session.execute(_living().where(Assignment.node_id.in_(node_ids))):
        placement = Placement(*row)
        found[placement.assignment.node_id].append(placement)
    return found


def of_terminal(session: Session, terminal_id: str) -> Placement | None:
    """The place of a terminal of any tenant."""
    row = session.execute(_living().where(Assignment.terminal_id == terminal_id)).one_or_none()
    return None if row is None else Placement(*row)


def of_terminals(session: Session, terminal_ids: Collection[str]) -> dict[str, Placement]:
    """The places of terminals of any tenant, by terminal id."""
    if not terminal_ids:
        return {}
    rows = session.execute(_living().where(Assignment.terminal_id.in_(terminal_ids)))
    return {place.terminal.id: place for place in (Placement(*row) for row in rows)}


def revoked(session: Session) -> list[Placement]:
    """Everything that is on its way from one node to another, of all tenants."""
    query = _living().where(Assignment.state == AssignmentState.REVOKED)
    return [Placement(*row) for row in session.execute(query)]


def _living() -> Select[Assignment, Terminal, Account, BrokerServer]:
    return (
        select(Assignment, Terminal, Account, BrokerServer)
        .join(Terminal, Terminal.id == Assignment.terminal_id)
        .join(Account, Account.id == Terminal.account_id)
        .join(BrokerServer, BrokerServer.name == Account.server)
        .where(Assignment.released_at.is_(None))
        .order_by(Assignment.terminal_id)
    )


def accounts_ever_on(session: Session, node_id: str, account_ids: set[str]) -> dict[tuple[str, str, int], Account]:
    """Accounts by (account id, terminal id, epoch) for every assignment that this node has held of them."""
    query = (
        select(Account, Assignment.terminal_id, Assignment.epoch)
        .join(Terminal, Terminal.account_id == Account.id)
        .join(Assignment, Assignment.terminal_id == Terminal.id)
        .where(Assignment.node_id == node_id, Account.id.in_(account_ids))
    )
    return {(account.id, terminal_id, epoch): account for account, terminal_id, epoch in session.execute(query)}
