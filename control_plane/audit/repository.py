"""All SQL of the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, class_mapper

from control_plane.audit.chain import FIRST
from control_plane.audit.model import AuditChain, AuditEntry
from control_plane.db.bulk import insert_if_missing, update_row
from control_plane.db.direct import execute_for, is_own, table_of
from control_plane.db.tenancy import Statements

_ROWS_AT_ONCE = 1000


def of_subject(session: Session, subject_id: str, limit: int) -> list[AuditEntry]:
    """The newest first."""
    query = select(AuditEntry).where(AuditEntry.subject_id == subject_id)
    return list(session.scalars(query.order_by(AuditEntry.at.desc(), AuditEntry.seq.desc()).limit(limit)))


def chains(session: Session) -> list[AuditChain]:
    return list(session.scalars(select(AuditChain).order_by(AuditChain.tenant_id)))


def heads(session: Session) -> list[dict[str, Any]]:
    """As they are in the database; nothing is taken from memory."""
    rows = session.execute(select(*_columns(AuditChain))).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


_CHAINS = table_of(AuditChain)
_HEAD = select(_CHAINS.c.seq, _CHAINS.c.head_hash).where(is_own(_CHAINS)).with_for_update()


def hold_chain(session: Session | Statements, tenant_id: str) -> tuple[int, str]:
    """Number and hash of the newest entry. Held until the transaction ends, so that the entries of a tenant are
    written one after the other.
    """
    found = execute_for(session, tenant_id, _HEAD, {}).rows
    if not found:
        insert_if_missing(session, AuditChain(tenant_id=tenant_id, seq=0, head_hash=FIRST, signature=b""))
        found = execute_for(session, tenant_id, _HEAD, {}).rows
    seq, head_hash = found[0]
    return seq, head_hash


def move_head(session: Session | Statements, tenant_id: str, seq: int, head_hash: str, signature: bytes) -> None:
    """Of a chain that is held."""
    update_row(session, AuditChain, tenant_id, {"seq": seq, "head_hash": head_hash, "signature": signature})


def tenants_with_entries(session: Session) -> set[str]:
    return set(session.scalars(select(AuditEntry.tenant_id).distinct()))


def entries(session: Session, tenant_id: str) -> Iterator[dict[str, Any]]:
    """As they are in the database, in the order of the chain; nothing is taken from memory."""
    query = select(*_columns(AuditEntry)).where(AuditEntry.tenant_id == tenant_id)
    rows = session.execute(query.order_by(AuditEntry.seq, AuditEntry.id).execution_options(yield_per=_ROWS_AT_ONCE))
    for row in rows.mappings():
        yield {str(name): value for name, value in row.items()}


def _columns(model: type[AuditChain] | type[AuditEntry]) -> list[Any]:
    return [each.class_attribute for each in class_mapper(model).column_attrs]
