"""All SQL of the audit trail."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.audit.model import AuditEntry


def of_subject(session: Session, subject_id: str, limit: int) -> list[AuditEntry]:
    """The newest first."""
    query = select(AuditEntry).where(AuditEntry.subject_id == subject_id)
    return list(session.scalars(query.order_by(AuditEntry.at.desc(), AuditEntry.id.desc()).limit(limit)))
