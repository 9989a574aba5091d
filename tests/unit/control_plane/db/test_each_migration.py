"""Each revision by itself, up and down, with a row in every table. On Postgres the same: tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.db.engine import Database, sqlite_url
from tests.migration_rows import ONLY_POSTGRES, count_rows, fill_empty_tables, go_to, lost, read_rows, revisions, shape


@pytest.mark.parametrize(("before", "revision"), revisions())
def test_rows_survive_it_and_its_way_back(before: str, revision: str, tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "farm.sqlite3"))
    if before != "base":
        go_to(database, before, up=True)
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
