"""Backup and restore of a farm on Postgres."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import inspect, text

from control_plane.backup.manifest import read_manifest, write_manifest
from control_plane.backup.postgres import ROWS
from control_plane.backup.service import make_backup, restore
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.errors import ConfigurationError
from tests.postgres_server import new_database
from tests.restore_drill.farm import fill
from tests.restore_drill.run import drill
from tests.unit.control_plane.world import World, build_world


@pytest.fixture
def target_url(postgres: str) -> str:
    return new_database(postgres)


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


def test_every_row_comes_back_although_others_write_during_the_backup(
    postgres_url: str, target_url: str, tmp_path: Path
) -> None:
    report = drill(tmp_path, accounts=3, samples=50, urls=(postgres_url, target_url))
    assert report.complaints == []
    assert (report.passwords, report.audit_rows) == (3, 1)
    assert report.rows > 150


def test_a_database_with_anything_in_it_is_left_alone(backup: Path, world: World, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "again", database_url=world.farm.settings.database_url)
    with pytest.raises(ConfigurationError, match="not empty"):
        restore(backup, settings)
    with world.farm.database.read() as session:
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
        restore(backup, Settings(data=tmp_path / "again", database_url=target_url))
    assert tables(target_url) == []


def test_a_backup_of_a_newer_version_is_refused(backup: Path, target_url: str, tmp_path: Path) -> None:
    newer = read_manifest(backup).model_copy(update={"revision": "9999"})
    write_manifest(backup, newer)
    with pytest.raises(ConfigurationError, match="schema 9999"):
        restore(backup, Settings(data=tmp_path / "again", database_url=target_url))
    assert tables(target_url) == []


def test_a_role_that_does_not_see_all_rows_fails_instead_of_saving_some(
    world: World, postgres_url: str, tmp_path: Path
) -> None:
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE short_sighted LOGIN")
        cursor.execute("GRANT USAGE ON SCHEMA public TO short_sighted")
        cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO short_sighted")
        cursor.execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY")
    url = postgres_url.replace("//postgres:@", "//short_sighted:@")
    assert url != postgres_url
    settings = Settings(data=world.data, database_url=url)
    with pytest.raises(ConfigurationError, match="row-level security"):
        make_backup(settings, tmp_path / "backup", SystemClock())
    with connection.cursor() as cursor:
        cursor.execute("DROP OWNED BY short_sighted")
        cursor.execute("DROP ROLE short_sighted")
    connection.close()
    assert not (tmp_path / "backup").exists()
