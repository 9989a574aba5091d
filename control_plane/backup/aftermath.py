"""What a restored farm must not believe, since the world went on after its backup was made."""

from __future__ import annotations

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.fleet.model import Node
from control_plane.identity import repository as identity_repository
from control_plane.identity.model import UserSession
from control_plane.identity.state import OPERATOR
from control_plane.terminals.model import Terminal

AHEAD = 1_000_000
"""More snapshots and assignments than a farm hands out between two backups."""


def make_safe(session: Session, audit: Audit, actor: str, reason: str) -> None:
    """In one transaction, before anything is served.

    Nodes get everything anew: what they last acknowledged may have a number that is yet to come here. They are
    believed without the token that they were last given, which is not known here and would make them look like
    copies. No epoch is handed out twice. Whoever was signed in signs in again, as a session may have been ended since.
    """
    session.execute(
        update(Node).values(
            generation=Node.generation + AHEAD,
            continuity_newest=None,
            continuity_acknowledged="",
            superseded_boot_id="",
        )
    )
    session.execute(
        update(Terminal).values(last_epoch=Terminal.last_epoch + AHEAD, access_epoch=Terminal.access_epoch + AHEAD)
    )
    session.execute(delete(UserSession))
    operator = identity_repository.tenant_by_kind(session, OPERATOR)
    if operator is not None:  # else the farm was saved before it was ever started
        audit.record(session, operator.id, Deed(actor, "restore", operator.id, reason))
