"""Migrations on Postgres: each with data, none that stops the farm, and several control planes at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, inspect, text

from control_plane.db.engine import Database
from control_plane.db.migrate import migration_config, upgrade
from control_plane.db.tables import METADATA
from control_plane.errors import ConfigurationError
from tests.migration_locks import long_locks
from tests.migration_rows import count_rows, fill_empty_tables, go_to, lost, read_rows, revisions, shape
from tests.postgres import OWNER, Server

BRIEF_FOR_A_REASON = {
    "0002": {
        "assignments": "there are as many rows as terminals, and each is one short text longer",
        "nodes": "there are as many rows as nodes",
    },
    "0004": {"user_sessions": "there are as many rows as browsers that are signed in"},
    "0006": {
        "audit_entries": "before this only what operators did was written down, which was little",
        "sealed_credentials": "there are as many rows as accounts, and all that is done is to look at each once",
        "tenant_keys": "there are as many rows as tenants",
    },
    "0019": {"orders": "before this only market orders and closings by hand were written down, which are few"},
}
"""By revision and table: what the judge would refuse, and why it takes a moment all the same."""


@pytest.fixture
def database(empty_postgres_url: str) -> Iterator[Database]:
    made = Database(empty_postgres_url)
    yield made
    made.close()


class Ladder:
    """A database that only goes up, copied at each revision: otherwise every test would begin at the first."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._name = server.empty_database()

    def copy_at(self, revision: str) -> Database:
        """Of a revision that is not older than the one before."""
        if revision != "base":
            climbing = Database(self._server.url(OWNER, self._name))
            go_to(climbing, revision, up=True)
            climbing.close()
        return Database(self._server.url(OWNER, self._server.copy_of(self._name)))


@pytest.fixture(scope="module")
def ladder(postgres_server: Server) -> Ladder:
    return Ladder(postgres_server)


def files_of_tables(database: Database) -> dict[str, int]:
    """Where Postgres keeps each table; another number means that every row was written anew."""
    query = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    with database.engine.connect() as connection:
        return {row.relname: row.relfilenode for row in connection.execute(text(query))}


@pytest.mark.parametrize(("before", "revision"), revisions())
def test_rows_survive_and_no_table_is_locked_for_long(before: str, revision: str, ladder: Ladder) -> None:
    database = ladder.copy_at(before)
    if before != "base":
        fill_empty_tables(database)
        assert count_rows(database) >= len(shape(database))
    old_shape, old_rows, old_files = shape(database), read_rows(database), files_of_tables(database)
    said: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(database.engine, "before_cursor_execute", listen)
    go_to(database, revision, up=True)
    event.remove(database.engine, "before_cursor_execute", listen)
    new_files = files_of_tables(database)
    assert {name for name, file in old_files.items() if new_files.get(name, file) != file} == set(), "written anew"
    excused = BRIEF_FOR_A_REASON.get(revision, {})
    assert [each for each in long_locks(said) if each.partition(":")[0] not in excused] == []
    assert lost(old_rows, read_rows(database)) == []
    fill_empty_tables(database)
    go_to(database, before, up=False)
    assert shape(database) == old_shape
    assert lost(old_rows, read_rows(database)) == []
    database.close()


def test_migrations_make_the_tables_of_the_models_and_take_them_away(empty_postgres_url: str) -> None:
    database = Database(empty_postgres_url)
    command.upgrade(migration_config(database), "head")
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    command.downgrade(migration_config(database), "0001")
    command.upgrade(migration_config(database), "head")
    command.downgrade(migration_config(database), "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.close()


def test_control_planes_that_start_together_take_turns(
    database: Database, empty_postgres_url: str, tmp_path: Path
) -> None:
    """On machines of their own, so that no lock file is shared."""
    failures: list[BaseException] = []

    def start(number: int) -> None:
        (tmp_path / str(number)).mkdir()
        mine = Database(empty_postgres_url)
        try:
            upgrade(mine, tmp_path / str(number))
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=start, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert shape(database)


def test_a_migration_gives_up_rather_than_let_everybody_queue_behind_it(database: Database, tmp_path: Path) -> None:
    """A statement that waits for a lock makes all who come after it wait as well."""
    go_to(database, "0001", up=True)
    with database.engine.connect() as somebody, somebody.begin():
        somebody.execute(text("SELECT * FROM nodes"))
        with pytest.raises(ConfigurationError, match="is in use"):
            upgrade(database, tmp_path, lock_seconds=0.2)
    upgrade(database, tmp_path, lock_seconds=0.2)
