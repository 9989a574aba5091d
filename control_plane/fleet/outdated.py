"""When the database is older than the world: a backup was restored, or another copy of it is served.

What has happened since is not known, so an account may run elsewhere than is written here. What runs goes on; nothing
that does not run is started before every node has reported, has its present snapshot, and has ended what it should not
have. Terminals that a node reports as running where they are written are known to be right at once.
"""

from __future__ import annotations

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from control_plane.assignments.model import Assignment
from control_plane.assignments.relocation import LeasePolicy
from control_plane.fleet.model import Node

JUMP = 1_000_000
"""More snapshots and assignments than a farm hands out between two backups."""
HIGHEST_EPOCH = 2**31 - 1 - JUMP
"""A node that reports more than this is not believed."""
_log = structlog.get_logger(__name__)


def begin(session: Session) -> None:
    """Await all nodes, and start nothing meanwhile. Nothing is believed about what they last acknowledged."""
    session.flush()
    session.execute(update(Node).values(awaited=True, generation=Node.generation + JUMP))
    session.execute(
        update(Assignment)
        .where(Assignment.released_at.is_(None))
        .values(unproven=True, lease_policy=LeasePolicy.KEEP_RUNNING)
    )


def awaited(session: Session) -> list[Node]:
    """The nodes that have not settled since; those that an operator has vouched to be dead are not waited for."""
    query = select(Node).where(Node.awaited, Node.declared_dead_at.is_(None)).order_by(Node.id)
    return list(session.scalars(query))


def is_waiting(session: Session) -> bool:
    """Whether anything is held back. Cheap: it is asked every few seconds."""
    held = select(Assignment.id).where(Assignment.unproven, Assignment.released_at.is_(None)).limit(1)
    return bool(awaited(session)) or session.scalars(held).first() is not None


def nodes_to_go_on(session: Session) -> list[str]:
    """Ends the waiting once no node is awaited; ids of the nodes that may start now what was held back there."""
    if awaited(session):
        return []
    held = list(session.scalars(select(Assignment).where(Assignment.unproven, Assignment.released_at.is_(None))))
    for assignment in held:
        assignment.unproven = False
    _log.info("outdated_database_settled", started=len(held))
    return sorted({each.node_id for each in held})
