"""What a restored farm must not believe, since the world went on after its backup was made."""

from __future__ import annotations

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from control_plane.audit.service import Deed
from control_plane.container import Farm
from control_plane.fleet import outdated
from control_plane.fleet.model import Node
from control_plane.identity import repository as identity_repository
from control_plane.identity.model import ApiKey, UserSession
from control_plane.identity.state import OPERATOR
from control_plane.notifications.model import Mail
from control_plane.terminals.model import Terminal


def make_safe(session: Session, farm: Farm, actor: str, reason: str) -> None:
    """In one transaction, before anything is served.

    Nodes get everything anew: what they last acknowledged may have a number that is yet to come here. They are
    believed without the token that they were last given, which is not known here and would make them look like
    copies. No epoch is handed out twice, and nothing is started before all nodes have reported (`outdated`). Whoever
    was signed in signs in again, keys for programs are made anew and links in mails are dead, as each of them may have
    been ended since.
    """
    outdated.begin(session)
    session.execute(update(Node).values(continuity_newest=None, continuity_acknowledged="", superseded_boot_id=""))
    session.execute(
        update(Terminal).values(
            last_epoch=Terminal.last_epoch + outdated.JUMP, access_epoch=Terminal.access_epoch + outdated.JUMP
        )
    )
    now = farm.clock.now()
    session.execute(delete(UserSession))
    session.execute(update(ApiKey).where(ApiKey.revoked_at.is_(None)).values(revoked_at=now))
    session.execute(update(Mail).where(Mail.used_at.is_(None), Mail.secret_hash.is_not(None)).values(used_at=now))
    operator = identity_repository.tenant_by_kind(session, OPERATOR)
    assert operator is not None, "the operator's tenant is made when the farm is opened"
    deed = Deed(actor, "restore", operator.id, reason, after={"epochs_raised_by": outdated.JUMP})
    farm.audit.record(session, operator.id, deed)
