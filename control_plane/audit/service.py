"""Write down deeds, in the transaction that does them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from control_plane.audit import repository
from control_plane.audit.chain import facts_text, link
from control_plane.audit.model import AuditEntry
from control_plane.audit.origin import present_origin
from control_plane.audit.signing import HeadSigner
from control_plane.clock import Clock
from control_plane.db.bulk import insert_row
from control_plane.db.engine import before_commit
from control_plane.db.tenancy import Statements
from control_plane.ids import new_id

THE_FARM = "farm"
"""Actor of what the farm does without being asked."""
REASON_LIMIT = 300
_WAITING = "mt5farm_deeds"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Deed:
    actor: str
    action: str
    subject_id: str
    reason: str
    on_behalf_of: str = ""
    """Id of the user whose wish it was, where that is not the actor."""
    before: Mapping[str, object] | None = None
    """What was, as far as the deed changes it. Never a secret: what is in the chain stays there."""
    after: Mapping[str, object] | None = None


@dataclass(frozen=True)
class _Recorded:
    tenant_id: str
    deed: Deed
    before: str
    after: str
    origin: str
    at: datetime


class Audit:
    def __init__(self, signer: HeadSigner, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock

    def record(self, session: Session | Statements, tenant_id: str, deed: Deed) -> None:
        """`tenant_id` is whose thing it was done to. Raises ValueError for facts that are named like secrets.

        It is written at the end of the transaction: the chain of a tenant is held last and only for a moment, so that
        deeds never wait for each other in a circle.
        """
        recorded = _Recorded(
            tenant_id, deed, facts_text(deed.before), facts_text(deed.after), present_origin(), self._clock.now()
        )
        waiting: list[_Recorded] = session.info.setdefault(_WAITING, [])
        if not waiting:
            before_commit(session, lambda: self._append(session, session.info.pop(_WAITING)))
        waiting.append(recorded)
        _log.info("deed", actor=deed.actor, action=deed.action, subject=deed.subject_id, reason=deed.reason)

    def _append(self, session: Session | Statements, waiting: list[_Recorded]) -> None:
        if isinstance(session, Session):
            session.flush()
        for tenant_id in sorted({each.tenant_id for each in waiting}):
            seq, head_hash = repository.hold_chain(session, tenant_id)
            for each in waiting:
                if each.tenant_id == tenant_id:
                    entry = _entry(each, seq + 1, head_hash)
                    insert_row(session, entry)
                    seq, head_hash = entry.seq, entry.entry_hash
            repository.move_head(session, tenant_id, seq, head_hash, self._signer.sign(tenant_id, seq, head_hash))


def _entry(recorded: _Recorded, seq: int, previous_hash: str) -> AuditEntry:
    deed = recorded.deed
    fields = {
        "id": new_id("aud"),
        "tenant_id": recorded.tenant_id,
        "actor": deed.actor[:254],
        "on_behalf_of": deed.on_behalf_of[:254],
        "origin": recorded.origin[:120],
        "action": deed.action,
        "subject_id": deed.subject_id,
        "reason": deed.reason[:REASON_LIMIT],
        "before": recorded.before,
        "after": recorded.after,
        "previous_hash": previous_hash,
    }
    return AuditEntry(**fields, seq=seq, at=recorded.at, entry_hash=link(**fields, seq=seq, at=recorded.at))
