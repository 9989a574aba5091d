"""Backup and restore of a farm on SQLite: whole or refused, never with the master key, and safe to serve after."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from control_plane.audit.model import AuditEntry
from control_plane.backup.aftermath import make_safe
from control_plane.backup.files import LEFT_OUT, SAVED
from control_plane.backup.manifest import MANIFEST, SUMS, read_manifest
from control_plane.backup.service import make_backup, restore
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.errors import ConfigurationError
from control_plane.fleet import outdated
from control_plane.fleet.model import Node
from control_plane.identity.model import ApiKey, UserSession
from control_plane.identity.state import Role
from control_plane.resources import master_key_path
from control_plane.terminals.model import Terminal
from tests.restore_drill.run import drill
from tests.unit.control_plane.world import World


def saved(world: World, tmp_path: Path) -> Path:
    make_backup(world.farm.settings, tmp_path / "backup", world.clock)
    return tmp_path / "backup"


def test_every_row_comes_back_although_others_write_during_the_backup(tmp_path: Path) -> None:
    report = drill(tmp_path, accounts=3, samples=50)
    assert report.complaints == []
    assert report.passwords == 3
    assert report.audit_rows > 5
    assert report.rows > 150


def test_files_come_back_and_keys_never_leave(world: World, tmp_path: Path) -> None:
    (world.data / "templates").mkdir()
    (world.data / "templates" / "a.tar").write_bytes(b"a terminal")
    (world.data / "templates" / ".half.tar").write_bytes(b"half a terminal")
    backup = saved(world, tmp_path)
    restore(backup, Settings(data=tmp_path / "again"))
    assert [path.name for path in (tmp_path / "again" / "templates").iterdir()] == ["a.tar"]
    assert not (tmp_path / "again" / "keys").exists()
    key = master_key_path(world.farm.settings).read_bytes().strip()
    assert not any(key in path.read_bytes() for path in backup.rglob("*") if path.is_file())


def test_each_entry_of_a_data_folder_is_known_as_saved_or_as_left_out(world: World) -> None:
    (world.data / "stray").write_text("")
    said = make_backup(world.farm.settings, world.data.with_name("backup"), world.clock)
    assert said.unknown == ["stray"]
    (world.data / "stray").unlink()
    assert {entry.name for entry in world.data.iterdir()} <= {*SAVED, *LEFT_OUT}


def test_only_the_owner_may_look_into_a_backup(world: World, tmp_path: Path) -> None:
    assert saved(world, tmp_path).stat().st_mode & 0o077 == 0


def flip_a_byte(backup: Path) -> None:
    with (backup / "farm.sqlite3").open("r+b") as file:
        file.seek(5000)
        file.write(bytes([file.read(1)[0] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_byte, "damaged: farm.sqlite3"),
        (lambda backup: (backup / "farm.sqlite3").unlink(), r"not whole: farm.sqlite3 is missing"),
        (lambda backup: (backup / "files" / "keys").write_text("mine"), "altered: files/keys"),
        (lambda backup: (backup / SUMS).unlink(), "not a whole backup"),
        (lambda backup: (backup / MANIFEST).write_text("{}"), f"damaged: {MANIFEST}"),
    ],
)
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    world: World, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    backup = saved(world, tmp_path)
    damage(backup)
    with pytest.raises(ConfigurationError, match=said):
        restore(backup, Settings(data=tmp_path / "again"))
    assert not (tmp_path / "again").exists()


def test_a_farm_is_never_restored_over_another(world: World, tmp_path: Path) -> None:
    backup = saved(world, tmp_path)
    with pytest.raises(ConfigurationError, match="is there already"):
        restore(backup, world.farm.settings)
    (tmp_path / "again" / "templates").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="in the way"):
        restore(backup, Settings(data=tmp_path / "again"))


def test_a_backup_is_never_written_over_anything(world: World, tmp_path: Path) -> None:
    backup = saved(world, tmp_path)
    with pytest.raises(ConfigurationError, match="folder of its own"):
        saved(world, tmp_path)
    assert read_manifest(backup).database == "sqlite"


def test_a_backup_of_another_kind_of_database_is_refused(world: World, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "again", database_url="postgresql://nobody@127.0.0.1:1/farm")
    with pytest.raises(ConfigurationError, match="is of a sqlite database"):
        restore(saved(world, tmp_path), settings)


def test_a_damaged_database_is_not_saved_as_if_it_were_whole(world: World, tmp_path: Path) -> None:
    world.trader().connect()
    broken = tmp_path / "broken"
    shutil.copytree(world.data, broken)
    with closing(sqlite3.connect(broken / "farm.sqlite3", isolation_level=None)) as connection:
        connection.execute("DELETE FROM users")  # foreign keys are not enforced on this connection
    with pytest.raises(ConfigurationError, match="refers to nothing"):
        make_backup(Settings(data=broken), tmp_path / "backup", world.clock)
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []


def test_a_folder_without_a_farm_makes_no_backup(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match="there is no farm in"):
            make_backup(Settings(data=data), tmp_path / "backup", SystemClock())


class TestARestoredFarm:
    def restored(self, world: World, tmp_path: Path) -> None:
        """The database of `world` itself as if it came out of a backup."""
        with world.farm.database.write_as_system() as session:
            make_safe(session, world.farm, "local:root", "from a backup")

    def test_gives_nodes_everything_anew_and_does_not_take_them_for_copies(self, world: World, tmp_path: Path) -> None:
        node = world.node()
        node.sync()
        with world.farm.database.write_as_system() as session:
            row = session.get_one(Node, node.node_id)
            as_saved = row.generation, row.continuity_newest, row.continuity_acknowledged
        for _ in range(3):
            node.sync()
        with world.farm.database.write_as_system() as session:
            row = session.get_one(Node, node.node_id)
            row.generation, row.continuity_newest, row.continuity_acknowledged = as_saved
        self.restored(world, tmp_path)
        assert node.sync().desired is not None
        assert node.sync().desired is None

    def test_hands_out_no_epoch_twice(self, world: World, tmp_path: Path) -> None:
        account_id, wanted = world.ready_account(world.trader(), world.node())
        self.restored(world, tmp_path)
        with world.farm.database.read_as_system() as session:
            terminal = session.scalars(select(Terminal).where(Terminal.account_id == account_id)).one()
        assert terminal.last_epoch == wanted.epoch + outdated.JUMP

    def test_has_everybody_sign_in_again_and_says_who_did_it(self, world: World, tmp_path: Path) -> None:
        operator = world.operator(Role.OWNER)
        operator.call("POST", "/auth/api-keys", 201, {"name": "Script", "scopes": ["read"]})
        self.restored(world, tmp_path)
        operator.call("GET", "/me", 401)
        with world.farm.database.read_as_system() as session:
            assert session.scalar(select(func.count()).select_from(UserSession)) == 0
            assert session.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.revoked_at.is_(None))) == 0
            deed = session.scalars(select(AuditEntry).where(AuditEntry.action == "restore")).one()
        assert (deed.actor, deed.reason) == ("local:root", "from a backup")
