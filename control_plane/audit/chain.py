"""The chain of deeds of one tenant: each entry's hash covers all of the entry and the hash before it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

FIRST = "0" * 64
"""Stands before the first entry of a chain."""
_FORMAT = "mt5farm/audit/1"
_SECRET_WORDS = ("password", "secret", "token", "private")


def link(
    *,
    id: str,  # noqa: A002 - the names are those of the columns
    tenant_id: str,
    seq: int,
    at: datetime,
    actor: str,
    on_behalf_of: str,
    origin: str,
    action: str,
    subject_id: str,
    reason: str,
    before: str,
    after: str,
    previous_hash: str,
) -> str:
    """Hash of an entry, in hex. `before` and `after` are texts as they are stored."""
    fields = [_FORMAT, tenant_id, seq, id, at.astimezone(UTC).isoformat(timespec="microseconds"), actor]
    fields += [on_behalf_of, origin, action, subject_id, reason, before, after, previous_hash]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def head_statement(tenant_id: str, seq: int, head_hash: str) -> bytes:
    """What is signed of a chain."""
    return f"mt5farm/audit-head/1|{tenant_id}|{seq}|{head_hash}".encode()


def facts_text(facts: Mapping[str, object] | None) -> str:
    """Facts about a subject as they are stored; empty for none. Raises ValueError for a name that smells of a secret.

    What is written into the chain can never be taken out again.
    """
    if facts is None:
        return ""
    for name in facts:
        if any(word in name.lower() for word in _SECRET_WORDS):
            raise ValueError(f"{name} has no place in the audit trail")
    return json.dumps(facts, ensure_ascii=True, separators=(",", ":"), sort_keys=True, default=str)
