"""The judge of migrations: what holds a big table up is named, what does not passes."""

from __future__ import annotations

import pytest

from tests.migration_locks import long_locks


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX ix_deals_time ON deals (time)",
        'CREATE UNIQUE INDEX ix ON "deals" (time)',
        "ALTER TABLE deals ADD COLUMN seen TIMESTAMP DEFAULT clock_timestamp() NOT NULL",
        "ALTER TABLE deals ADD COLUMN number BIGSERIAL",
        "ALTER TABLE deals ADD COLUMN twice INT GENERATED ALWAYS AS (volume * 2) STORED",
        "ALTER TABLE deals ALTER COLUMN ticket TYPE NUMERIC",
        "ALTER TABLE deals ALTER COLUMN ticket SET NOT NULL",
        "ALTER TABLE public.deals ADD CONSTRAINT fk FOREIGN KEY(account_id) REFERENCES accounts (id)",
        "ALTER TABLE deals ADD CONSTRAINT ck CHECK (volume > 0)",
        "ALTER TABLE deals ADD CONSTRAINT uq UNIQUE (ticket)",
        "ALTER TABLE deals RENAME ticket TO number",
        "UPDATE deals SET comment = ''",
        "DELETE\n FROM deals",
        "LOCK TABLE deals IN ACCESS EXCLUSIVE MODE",
        "VACUUM FULL deals",
    ],
)
def test_what_locks_for_as_long_as_the_table_is_big_is_named(statement: str) -> None:
    assert [each.partition(":")[0] for each in long_locks([statement])] == ["deals"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY ix_deals_time ON deals (time)",
        "DROP INDEX CONCURRENTLY ix_deals_time",
        "ALTER TABLE deals ADD COLUMN note VARCHAR(20) DEFAULT '' NOT NULL",
        "ALTER TABLE deals ADD CONSTRAINT fk FOREIGN KEY(a) REFERENCES accounts (id) NOT VALID",
        "ALTER TABLE deals ADD CONSTRAINT uq UNIQUE USING INDEX ix",
        "ALTER TABLE deals VALIDATE CONSTRAINT fk",
        "ALTER TABLE deals DROP COLUMN note",
        "ALTER TABLE deals ENABLE ROW LEVEL SECURITY",
        "UPDATE alembic_version SET version_num='0002'",
        "SELECT 1",
    ],
)
def test_what_takes_a_moment_passes(statement: str) -> None:
    assert long_locks([statement]) == []


def test_a_table_that_the_migration_makes_is_nobodys_yet() -> None:
    assert long_locks(["CREATE TABLE fills (id INT)", "CREATE INDEX ix ON fills (id)", "UPDATE fills SET id = 1"]) == []
    assert long_locks(["CREATE INDEX ix ON fills (id)", "CREATE TABLE fills (id INT)"]) != []
