"""The database: migrations, transactions and exact money."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from control_plane.config import Settings
from control_plane.db.engine import Database, after_commit
from control_plane.db.tables import METADATA
from control_plane.db.types import UtcDateTime, money
from control_plane.errors import ConfigurationError
from control_plane.fleet.model import SeenRequest
from control_plane.money import money_text
from control_plane.resources import open_database
from control_plane.vault.model import FarmKey
from tests.unit.control_plane.world import START, World


def test_migrations_make_exactly_the_tables_of_the_models(world: World) -> None:
    with world.farm.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_every_table_that_belongs_to_users_has_a_tenant() -> None:
    shared = {
        "attempt_lanes",
        "passkey_challenges",
        "tenants",
        "broker_servers",
        "farm_keys",
        "jobs",
        "pools",
        "relocation_breaker",
        "seen_requests",
        "template_pins",
        "template_trials",
        "terminal_templates",
    }
    without = {table.name for table in METADATA.sorted_tables if "tenant_id" not in table.columns}
    assert without == shared


def test_a_database_of_a_newer_version_is_refused(world: World) -> None:
    with world.farm.database.write_as_system() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="another version"):
        open_database(Settings(data=world.data))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"data folder .*file/data"):
        open_database(Settings(data=tmp_path / "file" / "data"))


def test_foreign_keys_are_enforced(world: World) -> None:
    with pytest.raises(IntegrityError), world.farm.database.write_as_system() as session:
        session.execute(text("INSERT INTO sealed_credentials VALUES ('acc_x', 'ten_x', 1, 1, x'00', '2026-01-01', '')"))


def test_writers_take_turns_instead_of_losing_updates(world: World) -> None:
    def add(number: int) -> None:
        with world.farm.database.write_as_system() as session:
            count = session.scalar(select(func.count()).select_from(SeenRequest)) or 0
            session.add(SeenRequest(token_id=str(count), expires_at=START))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with world.farm.database.read_as_system() as session:
        assert session.scalar(select(func.count()).select_from(SeenRequest)) == 8


def test_what_waits_for_the_commit_never_sees_a_roll_back(world: World) -> None:
    told: list[str] = []

    def fail() -> None:
        with world.farm.database.write_as_system() as session:
            after_commit(session, lambda: told.append("rolled back"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with world.farm.database.write_as_system() as session:
        after_commit(session, lambda: told.append("committed"))
        assert told == []
    assert told == ["committed"]


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_money_survives_text_and_float(amount: Decimal) -> None:
    assert Decimal(money_text(money(float(amount)))) == amount


@pytest.mark.parametrize(
    ("amount", "shown"), [(0.0, "0.00"), (-0.0, "0.00"), (-0.5, "-0.50"), (1e-8, "0.00000001"), (1234.5, "1234.50")]
)
def test_money_has_at_least_two_decimals(amount: float, shown: str) -> None:
    assert money_text(money(amount)) == shown


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1e12])
def test_what_is_no_amount_is_refused(amount: float) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        money(amount)


def test_times_without_a_zone_are_refused(world: World) -> None:
    dialect = world.farm.database.engine.dialect
    with pytest.raises(ValueError, match="naive"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), dialect)
    assert UtcDateTime().process_result_value(datetime(2026, 1, 1), dialect) == datetime(2026, 1, 1, tzinfo=UTC)


def test_an_error_of_the_database_tells_no_values(tmp_path: Path) -> None:
    database = open_database(Settings(data=tmp_path))
    with pytest.raises(IntegrityError) as caught, database.write_as_system() as session:
        session.execute(
            text("INSERT INTO farm_keys (name, wrapped) VALUES (:name, :wrapped)"), {"name": "k", "wrapped": b"sealed"}
        )
    database.close()
    assert "sealed" not in str(caught.value)


def test_what_the_log_holds_is_carried_over_while_others_read_and_write(tmp_path: Path) -> None:
    """Not by a commit, which would keep its user waiting."""
    database = open_database(Settings(data=tmp_path))
    database.checkpoint()
    before = _in_its_file(database)
    with database.write_as_system() as session:
        key = FarmKey(name="k", wrapped=bytes(_MUCH), master_id="m", public="", created_at=START)
        session.add(key)
    assert _in_its_file(database) == before
    count = text("SELECT count(*) FROM farm_keys")
    with database.write_as_system() as writer, database.read_as_system() as reader:
        assert (writer.scalar(count), reader.scalar(count)) == (1, 1)
        database.checkpoint()
    assert _in_its_file(database) > before + _MUCH
    database.close()


_MUCH = 6_000_000
"""Bytes, more than SQLite by itself lets the log have."""


def _in_its_file(database: Database) -> int:
    """Bytes, without the log."""
    return Path(str(make_url(database.url).database)).stat().st_size


def test_only_what_can_be_found_out_again_does_not_wait_for_the_disk(world: World) -> None:
    database = world.farm.database
    waits = []
    for recoverable in (False, True, True, False):
        with database.write("ten_1", recoverable=recoverable) as session:
            waits.append(session.scalar(text("PRAGMA synchronous")))
    normal, full = 1, 2
    assert waits == [full, normal, normal, full]
