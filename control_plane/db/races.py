"""Tells what is lost to somebody else at the same moment, and may succeed when tried again, from mistakes."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

_POSTGRES = frozenset({"23505", "40001", "40P01", "55P03"})
"""unique_violation, serialization_failure, deadlock_detected, lock_not_available."""
_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    }
)


def is_lost_race(error: DBAPIError) -> bool:
    """Whether the transaction has failed on what another one did. Nothing of it has been kept."""
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", None) in _SQLITE
    return getattr(error.orig, "pgcode", None) in _POSTGRES
