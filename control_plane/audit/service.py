"""Write down deeds, in the transaction that does them."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy.orm import Session

from control_plane.audit.model import AuditEntry
from control_plane.clock import Clock
from control_plane.ids import new_id

THE_FARM = "farm"
"""Actor of what the farm does without being asked."""
REASON_LIMIT = 300
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Deed:
    actor: str
    action: str
    subject_id: str
    reason: str


class Audit:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def record(self, session: Session, tenant_id: str, deed: Deed) -> None:
        """`tenant_id` is whose thing it was done to."""
        session.add(
            AuditEntry(
                id=new_id("aud"),
                tenant_id=tenant_id,
                at=self._clock.now(),
                actor=deed.actor[:254],
                action=deed.action,
                subject_id=deed.subject_id,
                reason=deed.reason[:REASON_LIMIT],
            )
        )
        _log.info("deed", actor=deed.actor, action=deed.action, subject=deed.subject_id, reason=deed.reason)
