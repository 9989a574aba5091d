"""Backup and restore of a farm on Postgres."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from control_plane.backup.manifest import read_manifest, write_manifest
from control_plane.backup.postgres import ROWS
from control_plane.backup.service import make_backup, restore
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.errors import ConfigurationError
from control_plane.resources import open_database
from tests.postgres import APPLICATION, OWNER, Server
from tests.restore_drill.farm import fill
from tests.restore_drill.run import databases_of, drill
from tests.unit.control_plane.world import World, build_world


@pytest.fixture
def target_url(empty_postgres_url: str) -> str:
    """Of the role that owns the database to restore into."""
    return empty_postgres_url


def settings_of(owner_url: str, data: Path) -> Settings:
    return Settings(data=data, database_url=owner_url.replace(OWNER, APPLICATION), database_owner_url=owner_url)


@pytest.fixture
def world(postgres_url: str, tmp_path: Path) -> Iterator[World]:
    made = build_world(tmp_path / "farm", database_url=postgres_url)
    fill(made, accounts=1, samples=3)
    yield made
    made.farm.stop()


@pytest.fixture
def backup(world: World, tmp_path: Path) -> Path:
    make_backup(world.farm.settings, tmp_path / "backup", SystemClock())
    return tmp_path / "backup"


def tables(url: str) -> list[str]:
    database = Database(url)
    try:
        return inspect(database.engine).get_table_names()
    finally:
        database.close()


def test_every_row_comes_back_although_others_write_during_the_backup(postgres_server: Server, tmp_path: Path) -> None:
    report = drill(tmp_path, accounts=3, samples=50, databases=databases_of(postgres_server))
    assert report.complaints == []
    assert report.passwords == 3
    assert report.audit_rows > 5
    assert report.rows > 150


def test_a_database_with_anything_in_it_is_left_alone(backup: Path, world: World, tmp_path: Path) -> None:
    settings = settings_of(str(world.farm.settings.database_url).replace(APPLICATION, OWNER), tmp_path / "again")
    with pytest.raises(ConfigurationError, match="not empty"):
        restore(backup, settings)
    with world.farm.database.read_as_system() as session:
        assert session.scalar(text("SELECT count(*) FROM accounts")) == 1


def test_a_row_that_differs_from_what_was_saved_undoes_the_restore(
    backup: Path, target_url: str, tmp_path: Path
) -> None:
    manifest = read_manifest(backup)
    file = backup / ROWS / "accounts.copy.gz"
    rows = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(rows.replace(b"Main", b"Mine")))
    write_manifest(backup, manifest)
    with pytest.raises(ConfigurationError, match="table accounts is not what was saved"):
        restore(backup, settings_of(target_url, tmp_path / "again"))
    assert tables(target_url) == []


def test_a_backup_of_a_newer_version_is_refused(backup: Path, target_url: str, tmp_path: Path) -> None:
    newer = read_manifest(backup).model_copy(update={"revision": "9999"})
    write_manifest(backup, newer)
    with pytest.raises(ConfigurationError, match="schema 9999"):
        restore(backup, settings_of(target_url, tmp_path / "again"))
    assert tables(target_url) == []


def test_where_row_level_security_could_hide_rows_nothing_is_saved(
    world: World, postgres_url: str, tmp_path: Path
) -> None:
    owner = Database(postgres_url.replace(APPLICATION, OWNER))
    with owner.engine.begin() as connection:
        connection.execute(text("DROP POLICY system_rows ON accounts"))
        connection.execute(text("CREATE POLICY narrow ON deals AS RESTRICTIVE USING (true)"))
    owner.close()
    with pytest.raises(ConfigurationError, match="hide rows of accounts, deals"):
        make_backup(world.farm.settings, tmp_path / "backup", SystemClock())
    assert not (tmp_path / "backup").exists()


def test_without_the_owner_of_the_tables_nothing_is_restored(backup: Path, target_url: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "again", database_url=target_url.replace(OWNER, APPLICATION))
    with pytest.raises(ConfigurationError, match="MT5FARM_DATABASE_OWNER_URL"):
        restore(backup, settings)


def test_a_restored_database_keeps_tenants_apart_again(backup: Path, target_url: str, tmp_path: Path) -> None:
    settings = settings_of(target_url, tmp_path / "again")
    restore(backup, settings)
    database = open_database(settings)  # refuses a database that would not
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM accounts")) == 0
    with database.read_as_system() as session:
        assert session.scalar(text("SELECT count(*) FROM accounts")) == 1
    database.close()
