"""Each revision by itself, up and down, with a row in every table. On Postgres the same: tests/integration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from control_plane.db.engine import Database, sqlite_url
from tests.migration_rows import ONLY_POSTGRES, count_rows, fill_empty_tables, go_to, lost, read_rows, revisions, shape


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that only goes up, copied at each revision: otherwise every test would begin at the first."""
    return tmp_path_factory.mktemp("ladder") / "farm.sqlite3"


def copy_at(revision: str, ladder: Path, folder: Path) -> Database:
    """Of a revision that is not older than the one before."""
    copied = folder / ladder.name
    if revision != "base":
        climbing = Database(sqlite_url(ladder))
        go_to(climbing, revision, up=True)
        climbing.close()
        shutil.copy(ladder, copied)
    return Database(sqlite_url(copied))


@pytest.mark.parametrize(("before", "revision"), revisions())
def test_rows_survive_it_and_its_way_back(before: str, revision: str, ladder: Path, tmp_path: Path) -> None:
    database = copy_at(before, ladder, tmp_path)
    if before != "base":
        fill_empty_tables(database)
        assert count_rows(database) >= len(shape(database))
    old_shape, old_rows = shape(database), read_rows(database)
    go_to(database, revision, up=True)
    assert lost(old_rows, read_rows(database)) == []
    assert (shape(database) == old_shape) == (revision in ONLY_POSTGRES)
    fill_empty_tables(database)
    go_to(database, before, up=False)
    assert shape(database) == old_shape
    assert lost(old_rows, read_rows(database)) == []
    go_to(database, revision, up=True)
    database.close()


def test_there_is_one_line_of_revisions() -> None:
    """Two branches of development that each add one would otherwise both be the newest."""
    pairs = revisions()
    assert [before for before, _ in pairs] == ["base", *(revision for _, revision in pairs)][:-1]
