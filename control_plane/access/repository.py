"""All SQL of tickets, and of the way to a terminal that answers."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import bindparam, delete, func, or_, select
from sqlalchemy.orm import Session

from control_plane.access.model import RevokedTicket
from control_plane.access.port import Target
from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState
from control_plane.db.direct import execute_for, is_own, table_of
from control_plane.db.tenancy import Statements
from control_plane.fleet.model import Node
from control_plane.fleet.state import IdentityState
from control_plane.identity.owner import Owner
from control_plane.terminals.model import Terminal, TerminalObservation
from control_plane.terminals.state import ANSWERING_PHASES

_ACCOUNTS, _TERMINALS, _NODES = table_of(Account), table_of(Terminal), table_of(Node)
_ASSIGNMENTS, _OBSERVATIONS = table_of(Assignment), table_of(TerminalObservation)
_ANSWERING = (
    select(_TERMINALS.c.id, _NODES.c.id, _NODES.c.gateway_address, _ASSIGNMENTS.c.epoch, _TERMINALS.c.access_epoch)
    .join_from(_ACCOUNTS, _TERMINALS, _TERMINALS.c.account_id == _ACCOUNTS.c.id)
    .join(_ASSIGNMENTS, _ASSIGNMENTS.c.terminal_id == _TERMINALS.c.id)
    .join(_NODES, _NODES.c.id == _ASSIGNMENTS.c.node_id)
    .join(_OBSERVATIONS, _OBSERVATIONS.c.terminal_id == _TERMINALS.c.id)
    .where(
        *(is_own(each) for each in (_ACCOUNTS, _TERMINALS, _ASSIGNMENTS, _OBSERVATIONS)),
        _ACCOUNTS.c.id == bindparam("account_id"),
        _ACCOUNTS.c.user_id == bindparam("user_id"),
        _ACCOUNTS.c.deleted_at.is_(None),
        _ASSIGNMENTS.c.released_at.is_(None),
        _ASSIGNMENTS.c.state != AssignmentState.REVOKED,  # as `is_leaving` says
        _NODES.c.identity_state == IdentityState.TRUSTED,
        _OBSERVATIONS.c.epoch == _ASSIGNMENTS.c.epoch,
        # Not as a list, which would be taken apart anew each time.
        or_(*(_OBSERVATIONS.c.phase == phase for phase in sorted(ANSWERING_PHASES))),
    )
)
"""The node is the tenant's to use since it holds the tenant's own assignment."""


def answering_target(session: Session | Statements, owner: Owner, account_id: str) -> Target | None:
    """How to reach the terminal of a user's account, if it answers; None says nothing of why it does not."""
    asked = {"user_id": owner.user_id, "account_id": account_id}
    row = execute_for(session, owner.tenant_id, _ANSWERING, asked).first()
    return None if row is None else Target(*row)


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
