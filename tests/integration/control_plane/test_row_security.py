"""Postgres alone keeps the tenants apart: everything here goes around the filter in the farm's code."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, ProgrammingError

from control_plane.config import Settings
from control_plane.db import row_security
from control_plane.db.engine import Database
from control_plane.db.tables import METADATA
from control_plane.db.tenancy import SET_SCOPE
from control_plane.errors import ConfigurationError
from control_plane.resources import open_database
from tests.postgres import APPLICATION, OWNER, Server
from tests.tenants import Member, two_tenants
from tests.unit.control_plane.world import World, build_world

OWNED = [table for table in METADATA.sorted_tables if "tenant_id" in table.columns]
SHOWN = [table for table in OWNED if table.name != "nodes"]
"""A node is seen by every tenant that has a terminal there, whoever's it is."""
FARM_ONLY = [
    "attempt_lanes",
    "passkey_challenges",
    "farm_keys",
    "relocation_breaker",
    "seen_requests",
    "template_pins",
    "template_trials",
    "terminal_templates",
]
Filled = tuple[World, tuple[Member, Member]]


@pytest.fixture(scope="module")
def filled(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    url = postgres_server.url(APPLICATION, postgres_server.migrated_database())
    world = build_world(tmp_path_factory.mktemp("rows") / "farm", database_url=url)
    yield world, two_tenants(world)
    world.farm.stop()


def as_tenant(world: World, tenant_id: str, work: Callable[[Connection], None]) -> None:
    """Without the farm's sessions, and undone in the end."""
    with world.farm.database.engine.connect() as connection:
        connection.execute(SET_SCOPE, {"tenant": tenant_id, "system": "off"})
        work(connection)
        connection.rollback()


def condition(columns: list[Column[Any]], choose: random.Random) -> ColumnElement[bool]:
    """Something that is true of many rows, whoever's they are."""
    column = cast(choose.choice(columns), String)
    rules = (literal(True), column.is_not(None), column.is_(None), column != "x", func.length(column) >= 0)
    simple = choose.choice(rules)
    if choose.random() < 0.4:
        return choose.choice([or_, and_])(simple, condition(columns, choose))
    return simple


def random_query(choose: random.Random) -> Select[Any]:
    """Shows tenants of rows of some tables, joined in any way: in the open, in subqueries, in groups, in unions."""
    tables: list[Table] = choose.sample(SHOWN, choose.randint(1, 3))
    shown = choose.choice(tables).c.tenant_id
    columns = [column for table in tables for column in table.columns]
    query = select(shown)
    for table in tables[1:]:
        query = query.join_from(tables[0], table, literal(True), isouter=choose.random() < 0.5)
    query = query.where(condition(columns, choose), shown.is_not(None))
    match choose.randrange(5):
        case 0:
            inner = query.subquery()
            return select(inner.c.tenant_id)
        case 1:
            return query.group_by(shown)
        case 2:
            return query.distinct()
        case 3:
            inner = query.union_all(select(choose.choice(SHOWN).c.tenant_id)).subquery()
            return select(inner.c.tenant_id)
        case _:
            return query.limit(500)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_no_query_returns_a_foreign_row(filled: Filled, seed: int) -> None:
    world, members = filled
    query = random_query(random.Random(seed))
    for member in members:

        def look(connection: Connection, own: str = member.tenant_id) -> None:
            assert set(connection.scalars(query)) <= {own}

        as_tenant(world, member.tenant_id, look)


def test_the_rows_are_there(filled: Filled) -> None:
    """What the queries above could have shown."""
    world, members = filled
    with world.farm.database.read_as_system() as session:
        tables = [
            table.name
            for table in OWNED
            if set(session.scalars(select(table.c.tenant_id))) >= {each.tenant_id for each in members}
        ]
    assert len(tables) >= 15


@pytest.mark.parametrize("table", OWNED, ids=str)
def test_nothing_foreign_is_changed_deleted_or_brought_in(filled: Filled, table: Table) -> None:
    world, (mine, foreign) = filled

    def attempt(connection: Connection) -> None:
        of_foreigner = table.c.tenant_id == foreign.tenant_id
        if table.name in row_security.APPEND_ONLY:
            return
        assert connection.execute(table.delete().where(of_foreigner)).rowcount == 0
        assert connection.execute(table.update().where(of_foreigner).values(tenant_id=mine.tenant_id)).rowcount == 0
        if connection.scalar(select(func.count()).select_from(table).where(table.c.tenant_id == mine.tenant_id)):
            with pytest.raises(ProgrammingError, match="row-level security"):
                connection.execute(table.update().values(tenant_id=foreign.tenant_id))

    as_tenant(world, mine.tenant_id, attempt)


@pytest.mark.parametrize("table", sorted(row_security.APPEND_ONLY))
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET tenant_id = 'x'", "TRUNCATE {}"])
def test_the_trade_log_and_the_audit_trail_only_grow(filled: Filled, table: str, statement: str) -> None:
    world, _ = filled
    with world.farm.database.engine.connect() as connection:
        connection.execute(SET_SCOPE, {"tenant": "", "system": "on"})
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text(statement.format(table)))


def test_not_even_the_owner_of_the_tables_changes_the_trail(filled: Filled) -> None:
    world, _ = filled
    owner = Database(world.farm.database.url.replace(APPLICATION, OWNER))
    with owner.write_as_system() as session, pytest.raises(DBAPIError, match="only ever added"):
        session.execute(text("UPDATE audit_entries SET reason = 'x'"))
    owner.close()


def test_who_says_for_nobody_sees_nothing(filled: Filled) -> None:
    world, _ = filled
    with world.farm.database.engine.connect() as connection:
        for table in METADATA.sorted_tables:
            if table.name != "broker_servers":
                assert connection.scalar(select(func.count()).select_from(table)) == 0, table.name


@pytest.mark.parametrize("name", FARM_ONLY)
def test_what_is_the_farms_no_tenant_sees(filled: Filled, name: str) -> None:
    world, (mine, _) = filled
    query = text(f"SELECT count(*) FROM {name}")

    def look(connection: Connection) -> None:
        assert connection.scalar(query) == 0

    as_tenant(world, mine.tenant_id, look)


def test_a_tenant_puts_jobs_down_and_reads_none(filled: Filled) -> None:
    world, (mine, _) = filled

    def look(connection: Connection) -> None:
        values = "'job_x', 'place_terminal', 'ter_x', 'queued', 0, now(), '', now()"
        connection.execute(text(f"INSERT INTO jobs VALUES ({values})"))
        assert connection.scalar(text("SELECT count(*) FROM jobs")) == 0

    as_tenant(world, mine.tenant_id, look)


def test_a_scope_ends_with_its_transaction(filled: Filled) -> None:
    world, (mine, _) = filled
    database = Database(world.farm.database.url)
    with database.write_as_system():
        pass
    with database.read(mine.tenant_id) as session:
        assert session.scalar(text("SELECT count(DISTINCT tenant_id) FROM accounts")) == 1
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM accounts")) == 0
    database.close()


class TestStart:
    """A farm that Postgres would not keep apart does not start."""

    @pytest.mark.parametrize(
        ("role", "why"), [("postgres", "passes over row-level security"), (OWNER, "its role owns tables")]
    )
    def test_with_a_role_that_nothing_binds(
        self, postgres_server: Server, postgres_url: str, tmp_path: Path, role: str, why: str
    ) -> None:
        url = postgres_url.replace(APPLICATION, role)
        with pytest.raises(ConfigurationError, match=why):
            open_database(Settings(data=tmp_path, database_url=url))

    def test_with_a_table_that_is_not_protected(self, postgres_url: str, tmp_path: Path) -> None:
        owner = Database(postgres_url.replace(APPLICATION, OWNER))
        with owner.engine.begin() as connection:
            connection.execute(text("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY"))
        owner.close()
        with pytest.raises(ConfigurationError, match="not every table is protected: orders"):
            open_database(Settings(data=tmp_path, database_url=postgres_url))

    def test_without_its_tables(self, empty_postgres_url: str, tmp_path: Path) -> None:
        url = empty_postgres_url.replace(OWNER, APPLICATION)
        with pytest.raises(ConfigurationError, match="mt5farm migrate"):
            open_database(Settings(data=tmp_path, database_url=url))

    def test_with_the_owners_address_it_makes_them_itself(self, empty_postgres_url: str, tmp_path: Path) -> None:
        url = empty_postgres_url.replace(OWNER, APPLICATION)
        given_both = Settings.model_validate(
            {"data": tmp_path, "database_url": url, "database_owner_url": empty_postgres_url}
        )
        assert empty_postgres_url not in repr(given_both)
        for _ in range(2):
            open_database(given_both).close()
