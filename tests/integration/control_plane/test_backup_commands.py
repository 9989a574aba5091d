"""`mt5farm backup` and `mt5farm restore`, and what they tell the person who runs them."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from control_plane.config import Settings
from control_plane.resources import open_database
from tests.integration.control_plane.test_serving import Finished, run


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    data = tmp_path / "farm"
    assert run("broker-server", "add", "--data", data, "--name", "S", "--company", "C").returncode == 0
    return data


@pytest.fixture
def backup(farm: Path, tmp_path: Path) -> Path:
    made = run("backup", "--data", farm, "--to", tmp_path / "backup")
    assert made.returncode == 0, made.stderr
    assert f"Keep a copy of {farm / 'keys' / 'master.key'} elsewhere" in made.stdout
    return tmp_path / "backup"


def restored_by(data: Path) -> list[str]:
    with closing(open_database(Settings(data=data))) as database, database.read_as_system() as session:
        return list(session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "restore")))


def restore(backup: Path, data: Path, *more: str) -> Finished:
    return run("restore", "--from", backup, "--into", data, *more)


def test_a_restored_farm_is_made_safe_for_which_it_needs_its_master_key(
    farm: Path, backup: Path, tmp_path: Path
) -> None:
    done = restore(backup, tmp_path / "again")
    assert (done.returncode, "master.key is missing" in done.stderr) == (2, True)
    assert not (tmp_path / "again").exists()
    shutil.copytree(farm / "keys", tmp_path / "again" / "keys")
    done = restore(backup, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "nothing that does not run already is started" in done.stdout
    assert run("audit", "verify", "--data", tmp_path / "again").returncode == 0
    assert [actor.partition(":")[0] for actor in restored_by(tmp_path / "again")] == ["local"]


def test_a_farm_that_only_moves_house_is_left_exactly_as_it_was(farm: Path, backup: Path, tmp_path: Path) -> None:
    done = restore(backup, tmp_path / "later", "--exact")
    assert (done.returncode, "Now put the farm's master key at" in done.stdout) == (0, True), done.stderr
    shutil.copytree(farm / "keys", tmp_path / "again" / "keys")
    done = restore(backup, tmp_path / "again", "--exact")
    assert (done.returncode, "master key" in done.stdout) == (0, False), done.stderr
    assert restored_by(tmp_path / "again") == []


def test_the_key_of_another_farm_is_found_out_at_once(backup: Path, tmp_path: Path) -> None:
    assert run("broker-server", "add", "--data", tmp_path / "other", "--name", "S", "--company", "C").returncode == 0
    shutil.copytree(tmp_path / "other" / "keys", tmp_path / "again" / "keys")
    done = restore(backup, tmp_path / "again")
    assert done.returncode == 2
    assert "is not the master key of this database" in done.stderr


def test_what_cannot_be_done_is_one_sentence(farm: Path, backup: Path, tmp_path: Path) -> None:
    for done in (
        run("backup", "--data", tmp_path / "nowhere", "--to", tmp_path / "b"),
        run("backup", "--data", farm, "--to", backup),
        restore(tmp_path / "nowhere", tmp_path / "again"),
        restore(backup, farm),
    ):
        assert done.returncode == 2
        assert done.stderr.startswith("mt5farm: ")
        assert done.stderr.count("\n") == 1
