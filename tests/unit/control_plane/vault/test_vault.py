"""The vault: a sealed value opens only in its own place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import ConfigurationError
from control_plane.vault.key_file import KeyFile
from control_plane.vault.model import SealedCredentials, TenantKey
from control_plane.vault.sealing import SealBrokenError, new_key, seal, unseal
from control_plane.vault.service import Sealed, Vault
from node_agent.plan import terminal_fingerprint
from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world

pytestmark = pytest.mark.both_databases

SECRET = "broker-secret"


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_place(plain: bytes, place: str) -> None:
    key = new_key()
    assert unseal(key, seal(key, plain, place), place) == plain


@given(st.data())
def test_an_altered_or_moved_value_does_not_open(data: st.DataObject) -> None:
    key = new_key()
    sealed = bytearray(seal(key, b"secret", "here"))
    place = data.draw(st.sampled_from(["here", "there"]))
    if place == "here":
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBrokenError):
        unseal(key, bytes(sealed), place)


def test_the_database_never_holds_the_password(world: World, trader: Trader) -> None:
    trader.connect(password=SECRET)
    for file in world.data.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


class TestMovedRows:
    @pytest.fixture
    def accounts(self, trader: Trader) -> tuple[str, str]:
        return trader.connect(5001, password=SECRET)["id"], trader.connect(5002, password="other")["id"]

    def test_a_password_moved_to_another_account_cannot_be_opened(
        self, world: World, trader: Trader, accounts: tuple[str, str]
    ) -> None:
        mine, other = accounts
        with world.farm.database.write_as_system() as session:
            rows = {row.account_id: row for row in session.query(SealedCredentials)}
            rows[other].sealed_password = rows[mine].sealed_password
        with world.farm.database.read_as_system() as session:
            with pytest.raises(SealBrokenError):
                world.farm.vault.open_credentials(session, trader.user["tenant_id"], other)
            assert world.farm.vault.open_credentials(session, trader.user["tenant_id"], mine).password == SECRET

    def test_an_older_password_put_back_under_a_newer_version_cannot_be_opened(
        self, world: World, trader: Trader, accounts: tuple[str, str]
    ) -> None:
        mine, _ = accounts
        tenant = trader.user["tenant_id"]
        with world.farm.database.write_as_system() as session:
            row = session.query(SealedCredentials).filter_by(account_id=mine).one()
            old = row.sealed_password
            world.farm.vault.put_credentials(session, tenant, mine, "new")
            row.sealed_password = old
        with world.farm.database.read_as_system() as session, pytest.raises(SealBrokenError):
            world.farm.vault.open_credentials(session, tenant, mine)

    def test_another_master_key_opens_nothing(self, world: World, trader: Trader, accounts: tuple[str, str]) -> None:
        stranger = Vault(KeyFile.create(world.data / "other.key"), world.clock)
        with world.farm.database.read_as_system() as session, pytest.raises(SealBrokenError):
            stranger.open_credentials(session, trader.user["tenant_id"], accounts[0])

    def test_a_broken_row_ends_no_terminal_and_keeps_no_other_from_its_node(
        self, world: World, node: NodePlayer, accounts: tuple[str, str]
    ) -> None:
        world.run_loops()
        before = {each.account_id: each for each in node.fetch().terminals}
        with world.farm.database.write_as_system() as session:
            session.query(SealedCredentials).filter_by(account_id=accounts[0]).one().sealed_password = b"broken"
        after = {each.account_id: each for each in node.fetch().terminals}
        assert terminal_fingerprint(after[accounts[0]]) == terminal_fingerprint(before[accounts[0]]), "it runs on"
        assert after[accounts[0]].running
        assert [bool(after[account].credentials) for account in accounts] == [False, True]


def test_a_tenant_has_one_wrapped_key(world: World, trader: Trader) -> None:
    trader.connect(5001)
    trader.connect(5002)
    with world.farm.database.read_as_system() as session:
        assert session.query(TenantKey).count() == 1


class TestMasterKey:
    def key_file(self, world: World) -> Path:
        return world.data / "keys" / "master.key"

    def test_is_readable_by_its_owner_only(self, world: World) -> None:
        assert self.key_file(world).stat().st_mode & 0o777 == 0o600
        self.key_file(world).chmod(0o644)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            build_world(world.data, database_url=world.farm.settings.database_url)

    def test_is_never_replaced_when_it_is_lost(self, world: World) -> None:
        self.key_file(world).unlink()
        with pytest.raises(ConfigurationError, match="restore it"):
            build_world(world.data, database_url=world.farm.settings.database_url)
        assert not self.key_file(world).exists()

    def test_must_be_the_one_of_the_database(self, world: World, tmp_path: Path) -> None:
        other = build_world(tmp_path / "other")
        self.key_file(world).write_bytes(self.key_file(other).read_bytes())
        with pytest.raises(ConfigurationError, match="not the master key"):
            build_world(world.data, database_url=world.farm.settings.database_url)


def test_a_small_secret_of_a_tenant_opens_in_its_place_only(world: World, trader: Trader) -> None:
    tenant = trader.user["tenant_id"]
    with world.farm.database.write_as_system() as session:
        sealed = world.farm.vault.seal_for_tenant(session, tenant, "totp|otp_1", b"small secret")
        assert world.farm.vault.unseal_for_tenant(session, tenant, "totp|otp_1", sealed) == b"small secret"
        for place, value in (("totp|otp_2", sealed), ("totp|otp_1", Sealed(9, sealed.content))):
            with pytest.raises(SealBrokenError):
                world.farm.vault.unseal_for_tenant(session, tenant, place, value)
