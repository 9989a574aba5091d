"""Every revision goes up and down again, with rows in the tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from control_plane.audit import repository as audit_repository
from control_plane.audit.signing import HeadSigner
from control_plane.audit.verification import Verdict, verify_database
from control_plane.clock import SystemClock
from control_plane.db.engine import Database, sqlite_url
from control_plane.db.migrate import migration_config
from control_plane.db.tables import METADATA
from control_plane.vault.key_file import KeyFile
from control_plane.vault.service import Vault

NOW = "2026-03-02 09:00:00.000000"
ROWS = (
    f"INSERT INTO tenants VALUES ('ten_1', 'operator', 'operator', '{NOW}')",
    f"INSERT INTO users VALUES ('usr_1', 'ten_1', 'a@example.com', 'A', 'trader', 'hash', '{NOW}')",
    f"INSERT INTO broker_servers VALUES ('Demo', 'MT5 Farm', '127.0.0.1:1', '{NOW}')",
    "INSERT INTO user_sessions (id, tenant_id, user_id, secret_hash, created_at, expires_at)"
    f" VALUES ('ses_1', 'ten_1', 'usr_1', 'hash', '{NOW}', '2026-03-16 09:00:00.000000')",
    "INSERT INTO nodes (id, tenant_id, name, state, identity_key, sealing_key, gateway_address, runtimes, slots,"
    " platform, enrolled_at, identity_expires_at, last_seen_at, boot_id, superseded_boot_id, sequence, generation,"
    f" report) VALUES ('nod_1', 'ten_1', 'n', 'online', 'k', 'k', 'h:1', '[]', 4, 'linux', '{NOW}', '{NOW}', '{NOW}',"
    " 'boot', '', 7, 3, '{}')",
    "INSERT INTO nodes (id, tenant_id, name, state, identity_key, sealing_key, gateway_address, runtimes, slots,"
    " platform, enrolled_at, identity_expires_at, last_seen_at, boot_id, superseded_boot_id, sequence, generation,"
    f" report) VALUES ('nod_2', 'ten_1', 'm', 'lost', 'k', 'k', 'h:1', '[]', 4, 'linux', '{NOW}', '{NOW}', '{NOW}',"
    " 'boot', '', 7, 3, '{}')",
    "INSERT INTO accounts (id, tenant_id, user_id, label, login, server, created_at)"
    f" VALUES ('acc_1', 'ten_1', 'usr_1', 'Main', 5001, 'Demo', '{NOW}')",
    "INSERT INTO terminals (id, tenant_id, account_id, intent, hold, last_epoch, placement_note, changed_at,"
    f" created_at) VALUES ('ter_1', 'ten_1', 'acc_1', 'running', 'none', 2, '', '{NOW}', '{NOW}')",
    "INSERT INTO assignments (id, tenant_id, terminal_id, node_id, epoch, runtime, state, reserved_at, released_at)"
    f" VALUES ('asg_1', 'ten_1', 'ter_1', 'nod_2', 1, 'simulated', 'released', '{NOW}', '{NOW}')",
    "INSERT INTO assignments (id, tenant_id, terminal_id, node_id, epoch, runtime, state, reserved_at, released_at)"
    f" VALUES ('asg_2', 'ten_1', 'ter_1', 'nod_1', 2, 'simulated', 'active', '{NOW}', NULL)",
    "INSERT INTO terminal_observations (terminal_id, tenant_id, epoch, phase, reason, detail, since, last_answer_at,"
    f" restarts, reported_at) VALUES ('ter_1', 'ten_1', 2, 'ready', NULL, '', '{NOW}', NULL, 0, '{NOW}')",
)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(sqlite_url(tmp_path / "farm.sqlite3"))
    command.upgrade(migration_config(database), "0001")
    with database.write_as_system() as session:
        for statement in ROWS:
            session.execute(text(statement))
    return database


def one(database: Database, query: str) -> tuple[object, ...]:
    with database.read_as_system() as session:
        return tuple(session.execute(text(query)).one())


def test_a_farm_of_the_first_release_keeps_everything_and_protects_nothing_yet(database: Database) -> None:
    command.upgrade(migration_config(database), "head")
    assert one(
        database, "SELECT availability, identity_state, continuity_newest, strays FROM nodes WHERE id = 'nod_1'"
    ) == (
        "open",
        "trusted",
        "",
        0,
    )
    assert one(database, "SELECT lease_policy, access_epoch, last_epoch FROM terminals") == ("keep_running", 0, 2)
    assert one(database, "SELECT lease_policy, ended_by FROM assignments WHERE epoch = 2") == ("keep_running", "")
    assert one(database, "SELECT ended_by FROM assignments WHERE epoch = 1") == ("confirmed",)
    assert one(database, "SELECT phase, flat FROM terminal_observations") == ("ready", None)
    assert one(database, "SELECT silent_since IS NULL FROM nodes WHERE id = 'nod_1'") == (1,)
    assert one(database, "SELECT silent_since = last_seen_at FROM nodes WHERE id = 'nod_2'") == (1,)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_sessions_of_an_earlier_release_go_on_without_a_second_factor(database: Database) -> None:
    command.upgrade(migration_config(database), "head")
    kept = one(database, "SELECT last_seen_at, proved_at, second_factor_at, address, user_agent FROM user_sessions")
    assert kept == (NOW, NOW, None, "", "")


def test_it_can_go_back_and_forth(database: Database) -> None:
    def shape() -> dict[str, list[str]]:
        inspector = inspect(database.engine)
        return {
            table: sorted(column["name"] for column in inspector.get_columns(table))
            for table in inspector.get_table_names()
        }

    first = shape()
    command.upgrade(migration_config(database), "head")
    newest = shape()
    assert first != newest
    command.downgrade(migration_config(database), "0001")
    assert shape() == first
    assert one(database, "SELECT state, node_id FROM assignments WHERE epoch = 2") == ("active", "nod_1")
    command.upgrade(migration_config(database), "head")
    assert shape() == newest
    command.downgrade(migration_config(database), "base")
    assert set(shape()) == {"alembic_version"}


def test_deeds_and_sealed_rows_of_an_older_farm_are_taken_over(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "farm.sqlite3"))
    command.upgrade(migration_config(database), "0003")
    rows = (
        *ROWS[:3],
        f"INSERT INTO accounts (id, tenant_id, user_id, label, login, server, created_at)"
        f" VALUES ('acc_1', 'ten_1', 'usr_1', 'Main', 5001, 'Demo', '{NOW}')",
        f"INSERT INTO tenant_keys VALUES ('ten_1', 1, x'01', '{NOW}')",
        f"INSERT INTO sealed_credentials VALUES ('acc_1', 'ten_1', 4, 1, x'02', '{NOW}')",
        *(
            "INSERT INTO audit_entries (id, tenant_id, at, actor, action, subject_id, reason)"
            f" VALUES ('aud_{number}', 'ten_1', '{NOW}', 'me', 'cordon', 'nod_1', '')"
            for number in (2, 1)
        ),
    )
    with database.write_as_system() as session:
        for statement in rows:
            session.execute(text(statement))
    command.upgrade(migration_config(database), "head")
    assert one(database, "SELECT version, key_version, verdict FROM sealed_credentials") == (4, 1, "")
    with database.write_as_system() as session:
        vault = Vault(KeyFile.create(tmp_path / "master.key"), SystemClock())
        signer = HeadSigner.load_or_create(session, vault)
    with database.read_as_system() as session:
        assert verify_database(session, (), signer.public_key) == Verdict(2, ())
        assert [row["id"] for row in audit_repository.entries(session, "ten_1")] == ["aud_1", "aud_2"]
    command.downgrade(migration_config(database), "0003")
    assert one(database, "SELECT count(*) FROM audit_entries") == (2,)
    database.close()
