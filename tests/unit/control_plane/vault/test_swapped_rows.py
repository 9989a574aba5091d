"""Whatever is sealed opens in its own row and column only: every pair of them is swapped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import pytest
from sqlalchemy.orm import Session

from control_plane.identity.model import TotpDevice
from control_plane.vault.model import SealedCredentials, TenantKey
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import Sealed, Vault
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import Trader, World

pytestmark = pytest.mark.both_databases


@dataclass(frozen=True)
class Cell:
    """One sealed value where it lies: a tenant's, of an account or a user, in a column, under a version of a key."""

    row: Any
    column: str

    @property
    def content(self) -> bytes:
        content: bytes = getattr(self.row, self.column)
        return content

    def opened(self, session: Session, vault: Vault) -> bytes:
        session.flush()
        if isinstance(self.row, SealedCredentials):
            return vault.open_credentials(session, self.row.tenant_id, self.row.account_id).password.encode()
        sealed = Sealed(self.row.key_version, self.content)
        return vault.unseal_for_tenant(session, self.row.tenant_id, f"totp_devices.sealed_secret|{self.row.id}", sealed)

    def numbers(self) -> dict[str, int]:
        """What the row says about its own value."""
        return {name: getattr(self.row, name) for name in ("key_version", "version") if hasattr(self.row, name)}


@pytest.fixture
def sealed(world: World) -> list[str]:
    """Somebody of each tenant has sealed a password and a seed with its first key, somebody else with its second."""
    broker = add_tenant(world, "broker")
    people: dict[tuple[int, str], Trader] = {}
    for number, tenant in product((1, 2), ("operator", "broker")):
        people[number, tenant] = person = world.trader(f"{tenant}{number}@example.com")
        if tenant == "broker":
            move_user(world, person.user["id"], broker)
    for number in (1, 2):
        for tenant in ("operator", "broker"):
            people[number, tenant].enrol_second_factor()
            people[number, tenant].connect(5000 + number, password=f"{tenant}-{number}")
        if number == 1:
            world.farm.rotation.start_data_key_rotation()
    return [f"{tenant}-{number}" for number, tenant in people]


def cells(session: Session) -> list[Cell]:
    passwords = [Cell(row, "sealed_password") for row in session.query(SealedCredentials)]
    return passwords + [Cell(row, "sealed_secret") for row in session.query(TotpDevice)]


def said_of(source: Cell, target: Cell) -> Iterator[dict[str, int]]:
    """With the value alone, with the version of its key, and with its own version as well."""
    carried = {name: value for name, value in source.numbers().items() if name in target.numbers()}
    yield {}
    yield {"key_version": carried["key_version"]}
    yield carried


def test_each_opens_in_its_own_place(world: World, sealed: list[str]) -> None:
    with world.farm.database.read_as_system() as session:
        found = cells(session)
        opened = [each.opened(session, world.farm.vault) for each in found]
        assert {(each.row.tenant_id, each.column, each.row.key_version) for each in found} == set(
            product({each.row.tenant_id for each in found}, ("sealed_password", "sealed_secret"), (1, 2))
        )
    assert sorted(opened[:4]) == sorted(each.encode() for each in sealed)
    assert len(set(opened)) == 8


def test_none_opens_in_the_place_of_another(world: World, sealed: list[str]) -> None:
    refused = 0
    with world.farm.database.write_as_system() as session:
        found = cells(session)
        for source, target in permutations(found, 2):
            own = {target.column: target.content, **target.numbers()}
            content = source.content
            for numbers in said_of(source, target):
                change(target.row, {**own, target.column: content, **numbers})
                with pytest.raises(SealBrokenError):
                    target.opened(session, world.farm.vault)
                refused += 1
            change(target.row, own)
        assert refused == 3 * 8 * 7
        assert len({each.opened(session, world.farm.vault) for each in found}) == 8, "all is as it was"


def test_a_key_opens_nothing_as_the_key_of_another_tenant_or_version(world: World, sealed: list[str]) -> None:
    with world.farm.database.write_as_system() as session:
        keys, found = list(session.query(TenantKey)), cells(session)
        assert len(keys) == 4
        for source, target in permutations(keys, 2):
            own, target.wrapped = target.wrapped, source.wrapped
            for each in found:
                if (each.row.tenant_id, each.row.key_version) == (target.tenant_id, target.version):
                    with pytest.raises(SealBrokenError):
                        each.opened(session, world.farm.vault)
            target.wrapped = own


def change(row: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
