"""Find out whether a chain of deeds is whole: nothing changed, added, taken out, moved or cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from control_plane.audit import repository
from control_plane.audit.chain import FIRST, link
from control_plane.audit.model import AuditEntry
from control_plane.audit.signing import is_signed

_HASHED = tuple(column.key for column in AuditEntry.__table__.columns if column.key != "entry_hash")


@dataclass(frozen=True)
class Head:
    """The end of a chain at some moment, with the farm's signature under it."""

    tenant_id: str
    seq: int
    head_hash: str
    signature: bytes


@dataclass(frozen=True)
class Finding:
    tenant_id: str
    seq: int
    """Where in the chain; 0 where that cannot be said."""
    problem: str


@dataclass(frozen=True)
class Verdict:
    entries: int
    findings: tuple[Finding, ...]


def verify_chain(
    tenant_id: str,
    entries: Iterable[Mapping[str, Any]],
    head: Head | None,
    kept: Iterable[Head],
    public_key: str,
) -> Verdict:
    """`entries` in the order of `seq`; `head` is the one beside them, `kept` are those that are kept apart."""
    findings: list[Finding] = []
    expected = {each.seq: each for each in kept if _believed(each, public_key, findings)}
    count, last = 0, FIRST
    for count, entry in enumerate(entries, start=1):
        problem = _problem(entry, tenant_id, count, last)
        if problem:
            findings.append(Finding(tenant_id, count, problem))
        last = str(entry["entry_hash"])
        apart = expected.pop(count, None)
        if apart is not None and apart.head_hash != last:
            findings.append(Finding(tenant_id, count, "the head that is kept apart is another one"))
    findings += [Finding(tenant_id, seq, "entries up to here have been cut off") for seq in sorted(expected)]
    if head is None:
        findings.append(Finding(tenant_id, count, "the chain has no head"))
    elif _believed(head, public_key, findings) and (head.seq, head.head_hash) != (count, last):
        findings.append(Finding(tenant_id, head.seq, "the chain does not end where its head says"))
    return Verdict(count, tuple(findings))


def verify_database(session: Session, kept: Iterable[Head], public_key: str) -> Verdict:
    """Every chain of the farm."""
    apart: dict[str, list[Head]] = {}
    for each in kept:
        apart.setdefault(each.tenant_id, []).append(each)
    heads = {row["tenant_id"]: Head(**row) for row in repository.heads(session)}
    tenants = heads.keys() | apart.keys() | repository.tenants_with_entries(session)
    count, findings = 0, list[Finding]()
    for tenant_id in sorted(tenants):
        rows = repository.entries(session, tenant_id)
        verdict = verify_chain(tenant_id, rows, heads.get(tenant_id), apart.get(tenant_id, ()), public_key)
        count += verdict.entries
        findings += verdict.findings
    return Verdict(count, tuple(findings))


def _problem(entry: Mapping[str, Any], tenant_id: str, seq: int, last: str) -> str:
    if entry["seq"] != seq:
        return f"entry {seq} is missing or another stands twice: found {entry['seq']}"
    if entry["tenant_id"] != tenant_id:
        return "the entry belongs to another tenant"
    if entry["previous_hash"] != last:
        return "the entry does not follow the one before it"
    if not isinstance(entry["at"], datetime):
        return "the entry has no time"
    if link(**{name: entry[name] for name in _HASHED}) != entry["entry_hash"]:
        return "the entry has been changed"
    return ""


def _believed(head: Head, public_key: str, findings: list[Finding]) -> bool:
    if is_signed(public_key, head.signature, head.tenant_id, head.seq, head.head_hash):
        return True
    findings.append(Finding(head.tenant_id, head.seq, "the head is not signed by this farm"))
    return False
