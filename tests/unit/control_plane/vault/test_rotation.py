"""Master keys and data keys are replaced while the farm runs; every password opens all the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from typer.testing import CliRunner

from control_plane import cli
from control_plane.db.base import Base
from control_plane.identity.model import TotpDevice
from control_plane.vault import repository
from control_plane.vault.model import FarmKey, SealedCredentials, TenantKey
from control_plane.vault.rotation import Outcome
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import credentials_place, tenant_key_place
from tests.unit.control_plane.world import Trader, World, build_world

ids, numbers = st.sampled_from(["ten_1", "ten_11", "acc_1", "acc_11"]), st.integers(1, 12)


def ignore(_count: int) -> None:
    """Nobody looks at the bar."""


@pytest.fixture
def accounts(trader: Trader) -> list[str]:
    return [trader.connect(5000 + number, password=f"pass-{number}")["id"] for number in range(3)]


def passwords(world: World, trader: Trader, accounts: list[str]) -> list[str]:
    with world.farm.database.read_as_system() as session:
        tenant = trader.user["tenant_id"]
        return [world.farm.vault.open_credentials(session, tenant, each).password for each in accounts]


def key_versions(world: World) -> tuple[set[int], set[int]]:
    """Of the credentials, and of the keys that are there."""
    with world.farm.database.read_as_system() as session:
        used = {row.key_version for row in session.query(SealedCredentials)}
        return used, {row.version for row in session.query(TenantKey)}


class TestDataKeys:
    def test_everything_is_sealed_anew_and_the_old_key_is_gone(
        self, world: World, trader: Trader, accounts: list[str]
    ) -> None:
        assert world.farm.rotation.start_data_key_rotation() == 1
        assert key_versions(world) == ({1}, {1, 2})
        done: list[int] = []
        assert world.farm.rotation.reseal(done.append) == Outcome(3, 0)
        assert sum(done) == 3
        assert key_versions(world) == ({2}, {2})
        assert passwords(world, trader, accounts) == ["pass-0", "pass-1", "pass-2"]

    def test_secrets_of_second_factors_are_sealed_anew_as_well(self, world: World, trader: Trader) -> None:
        trader.enrol_second_factor()
        world.farm.rotation.start_data_key_rotation()
        assert world.farm.rotation.progress().sealed_with_older_keys == 1
        assert world.farm.rotation.reseal(ignore) == Outcome(1, 0)
        with world.farm.database.read_as_system() as session:
            assert {row.key_version for row in session.query(TotpDevice)} == {2}
            assert {row.version for row in session.query(TenantKey)} == {2}
        world.clock.advance(seconds=30)
        trader.call("POST", "/auth/step-up", 204, {"code": trader.code()})

    def test_every_sealed_column_is_among_those_of_the_rotation(self, world: World) -> None:
        """Whatever names a data key of its tenant would lose it otherwise."""
        sealed = {each.class_ for each in Base.registry.mappers if "key_version" in each.columns}
        assert {column.model for column in world.farm.rotation.columns} == sealed
        for model in sealed:
            targets = {
                key.column.table.name for key in model.__table__.foreign_keys if key.parent.name == "key_version"
            }
            assert targets == {"tenant_keys"}, "the database keeps a key from being deleted while it is needed"

    def test_what_was_interrupted_goes_on(self, world: World, trader: Trader, accounts: list[str]) -> None:
        world.farm.rotation.start_data_key_rotation()
        trader.connect(5009)
        assert key_versions(world) == ({1, 2}, {1, 2})
        assert world.farm.rotation.progress().sealed_with_older_keys == 3
        again = build_world(world.data)
        assert again.farm.rotation.reseal(ignore) == Outcome(3, 0)
        again.farm.stop()
        assert world.farm.rotation.progress().sealed_with_older_keys == 0
        assert passwords(world, trader, accounts) == ["pass-0", "pass-1", "pass-2"]

    def test_a_row_that_cannot_be_opened_is_left_and_named_and_keeps_its_key(
        self, world: World, trader: Trader, accounts: list[str]
    ) -> None:
        with world.farm.database.write_as_system() as session:
            session.query(SealedCredentials).filter_by(account_id=accounts[1]).one().sealed_password = b"broken"
        world.farm.rotation.start_data_key_rotation()
        assert world.farm.rotation.reseal(ignore) == Outcome(2, 1)
        assert key_versions(world) == ({1, 2}, {1, 2})
        assert passwords(world, trader, [accounts[0], accounts[2]]) == ["pass-0", "pass-2"]

    def test_the_database_keeps_a_key_that_something_is_sealed_with(self, world: World, accounts: list[str]) -> None:
        def delete() -> None:
            with world.farm.database.write_as_system() as session:
                session.execute(text("DELETE FROM tenant_keys"))

        with pytest.raises(IntegrityError):
            delete()

    def test_the_version_that_nodes_know_stays(self, world: World, trader: Trader, accounts: list[str]) -> None:
        world.farm.rotation.start_data_key_rotation()
        world.farm.rotation.reseal(ignore)
        with world.farm.database.read_as_system() as session:
            assert {row.version for row in session.query(SealedCredentials)} == {1}


class TestMasterKeys:
    def test_a_running_farm_follows_a_rotation_that_another_process_did(
        self, world: World, trader: Trader, accounts: list[str]
    ) -> None:
        other = build_world(world.data)
        made = other.farm.rotation.start_master_rotation()
        assert other.farm.rotation.rewrap(ignore).broken == 0
        assert other.farm.rotation.retire_masters() == []
        other.farm.stop()
        assert passwords(world, trader, accounts) == ["pass-0", "pass-1", "pass-2"]
        trader.connect(5009)
        with world.farm.database.read_as_system() as session:
            found = {row.master_id for row in session.query(TenantKey)} | {
                row.master_id for row in session.query(FarmKey)
            }
        assert found == {made}

    def test_a_key_that_still_wraps_something_is_not_given_up(self, world: World, accounts: list[str]) -> None:
        old = world.farm.rotation.progress().newest_master
        made = world.farm.rotation.start_master_rotation()
        assert world.farm.rotation.retire_masters() == [old]
        world.farm.rotation.rewrap(ignore)
        assert world.farm.rotation.progress().wrapped_by_master.keys() == {made}
        assert world.farm.rotation.retire_masters() == []
        assert (world.data / "keys" / f"master.key.retired-{old}").stat().st_mode & 0o777 == 0o600

    def test_without_the_retired_key_an_old_row_stays_shut(
        self, world: World, trader: Trader, accounts: list[str]
    ) -> None:
        with world.farm.database.read_as_system() as session:
            old = [(row.wrapped, row.master_id) for row in session.query(TenantKey)]
        world.farm.rotation.start_master_rotation()
        world.farm.rotation.rewrap(ignore)
        world.farm.rotation.retire_masters()
        with world.farm.database.write_as_system() as session:
            session.query(TenantKey).one().wrapped, session.query(TenantKey).one().master_id = old[0]
        with pytest.raises(SealBrokenError):
            passwords(world, trader, accounts)

    def test_rows_from_before_ids_were_kept_are_found_and_taken_over(
        self, world: World, trader: Trader, accounts: list[str]
    ) -> None:
        with world.farm.database.write_as_system() as session:
            for table in ("tenant_keys", "farm_keys"):
                session.execute(text(f"UPDATE {table} SET master_id = ''"))
        assert passwords(world, trader, accounts) == ["pass-0", "pass-1", "pass-2"]
        made = world.farm.rotation.start_master_rotation()
        assert world.farm.rotation.retire_masters() == [""]
        assert world.farm.rotation.rewrap(ignore) == Outcome(5, 0)
        assert world.farm.rotation.progress().wrapped_by_master == {made: 5}


class TestSwappedRows:
    """Whatever is put into another row opens nothing: neither a key of another tenant nor a password of another."""

    @pytest.fixture
    def rows(self, world: World, trader: Trader, accounts: list[str]) -> tuple[str, str]:
        """Two tenants with one password each: theirs is copied from ours, ids included as far as they can be."""
        ours = trader.user["tenant_id"]
        with world.farm.database.write_as_system() as session:
            session.execute(
                text("INSERT INTO tenants SELECT 'ten_other', 'broker', 'other', created_at FROM tenants LIMIT 1")
            )
            world.farm.vault.add_data_key(session, "ten_other")
        return ours, "ten_other"

    def steal_row(self, world: World, account: str, tenant: str) -> None:
        with world.farm.database.write_as_system() as session:
            session.execute(
                text("UPDATE sealed_credentials SET tenant_id = :tenant WHERE account_id = :account"),
                {"tenant": tenant, "account": account},
            )

    def steal_key(self, world: World, source: str, target: str) -> None:
        with world.farm.database.write_as_system() as session:
            session.execute(
                text(
                    "UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys WHERE tenant_id = :source)"
                    " WHERE tenant_id = :target"
                ),
                {"source": source, "target": target},
            )

    @pytest.mark.parametrize("with_key", [False, True])
    def test_a_password_moved_to_another_tenant_does_not_open(
        self, world: World, accounts: list[str], rows: tuple[str, str], with_key: bool
    ) -> None:
        ours, theirs = rows
        if with_key:
            self.steal_key(world, ours, theirs)
        self.steal_row(world, accounts[0], theirs)
        with world.farm.database.read_as_system() as session, pytest.raises(SealBrokenError):
            world.farm.vault.open_credentials(session, theirs, accounts[0])

    def test_a_key_moved_to_another_tenant_does_not_open(self, world: World, rows: tuple[str, str]) -> None:
        ours, theirs = rows
        self.steal_key(world, ours, theirs)
        with world.farm.database.read_as_system() as session:
            (key,) = repository.tenant_keys(session, theirs)
            with pytest.raises(SealBrokenError):
                world.farm.vault.open_data_key(key)

    @given(st.tuples(*[ids, ids, numbers, numbers]), st.tuples(*[ids, ids, numbers, numbers]))
    def test_every_row_has_a_place_of_its_own(
        self, one: tuple[str, str, int, int], other: tuple[str, str, int, int]
    ) -> None:
        assert (credentials_place(*one) == credentials_place(*other)) == (one == other)
        assert (tenant_key_place(*one[1:3]) == tenant_key_place(*other[1:3])) == (one[1:3] == other[1:3])

    def test_a_key_of_another_version_does_not_open(
        self, world: World, trader: Trader, accounts: list[str], rows: tuple[str, str]
    ) -> None:
        world.farm.rotation.start_data_key_rotation()
        with world.farm.database.write_as_system() as session:
            session.execute(text("UPDATE sealed_credentials SET key_version = 2"))
        with pytest.raises(SealBrokenError):
            passwords(world, trader, accounts)

    @pytest.mark.parametrize("names", [("ticket-1", "audit")])
    def test_a_private_key_of_the_farm_under_another_name_does_not_open(
        self, world: World, names: tuple[str, str]
    ) -> None:
        with world.farm.database.write_as_system() as session:
            one, other = (session.get(FarmKey, name) or pytest.fail(name) for name in names)
            one.wrapped, other.wrapped = other.wrapped, one.wrapped
            with pytest.raises(SealBrokenError):
                world.farm.vault.open_farm_key(one)


def test_the_commands_say_what_they_did(world: World, trader: Trader, accounts: list[str]) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["vault", *arguments, "--data", str(world.data)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    shown = run("rotate-data-keys", "--reason", "yearly")
    assert "3 done" in shown
    assert "of them under older keys 0" in shown
    assert "pass-0" not in shown
    run("rotate-master", "--reason", "yearly")
    run("retire-masters", "--reason", "yearly")
    assert run("status").count("wraps") == 1
    assert passwords(world, trader, accounts) == ["pass-0", "pass-1", "pass-2"]
