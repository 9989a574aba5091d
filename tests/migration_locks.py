"""Judges the statements of a migration by how long Postgres would lock a big table for them.

While the farm goes on, nodes report and traders trade: a lock that lasts as long as a table is big is an outage.
https://www.postgresql.org/docs/current/explicit-locking.html and the notes of ALTER TABLE and CREATE INDEX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = r'(?:IF (?:NOT )?EXISTS )?(?:ONLY )?"?(?:\w+"?\."?)?(?P<table>\w+)"?'
_RULES: tuple[tuple[str, str], ...] = (
    (rf"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).* ON {_NAME}", "an index without CONCURRENTLY stops all writers"),
    (r"DROP INDEX (?!CONCURRENTLY)(?P<table>)", "an index dropped without CONCURRENTLY waits with everybody behind it"),
    (rf"ALTER TABLE {_NAME} .*\bSET NOT NULL", "all rows are read under a lock; add a CHECK ... NOT VALID first"),
    (rf"ALTER TABLE {_NAME} .*\bFOREIGN KEY(?!.*NOT VALID)", "a foreign key is checked under a lock unless NOT VALID"),
    (rf"ALTER TABLE {_NAME} .*\bCHECK\b(?!.*NOT VALID)", "a check reads all rows under a lock unless NOT VALID"),
    (
        rf"ALTER TABLE {_NAME} .*ADD (?:CONSTRAINT \S+ )?(?:UNIQUE|PRIMARY KEY)(?!\s+USING INDEX)",
        "a constraint that builds its index stops all; make the index CONCURRENTLY and use it",
    ),
    (rf"ALTER TABLE {_NAME} .*ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE", "another type may write the table anew"),
    (
        rf"ALTER TABLE {_NAME} .*ADD (?:COLUMN )?.*DEFAULT .*(?:random|clock_timestamp|gen_random_uuid|nextval)\(",
        "a default that differs from row to row writes the table anew",
    ),
    (rf"ALTER TABLE {_NAME} .*ADD (?:COLUMN )?.*\b(?:GENERATED|BIGSERIAL|SERIAL)\b", "all rows are written anew"),
    (rf"ALTER TABLE {_NAME} .*RENAME", "replicas of the former version still use the old name"),
    (rf"(?:UPDATE|DELETE FROM) {_NAME}", "rows stay locked until the whole migration is done; fill them in portions"),
    (rf"(?:CLUSTER|VACUUM FULL|REINDEX (?:TABLE )?(?!CONCURRENTLY)|LOCK TABLE) {_NAME}", "stops everybody"),
)


def long_locks(statements: Iterable[str]) -> list[str]:
    """`table: reason` for every statement that holds up tables that were there before; new tables disturb nobody."""
    new: set[str] = set()
    found = []
    for statement in statements:
        line = " ".join(statement.split())
        if made := re.match(rf"CREATE TABLE {_NAME}", line, re.IGNORECASE):
            new.add(made["table"])
            continue
        for pattern, reason in _RULES:
            hit = re.match(pattern, line, re.IGNORECASE)
            if hit is not None and hit["table"] not in new and hit["table"] != "alembic_version":
                found.append(f"{hit['table'] or line}: {reason}")
    return found
