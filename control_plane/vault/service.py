"""Seal and unseal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.vault import repository
from control_plane.vault.masters import MasterKeys, Wrapped
from control_plane.vault.model import FarmKey, SealedCredentials, TenantKey
from control_plane.vault.repository import SealedRow
from control_plane.vault.sealing import SealBrokenError, new_key, seal, unseal
from control_plane.vault.state import Verdict


@dataclass(frozen=True)
class OpenCredentials:
    """A broker password in the clear; only ever held to be sealed again for a node."""

    password: str = field(repr=False)
    version: int


@dataclass(frozen=True)
class Sealed:
    """A sealed value and the version of the tenant's key that opens it."""

    key_version: int
    content: bytes


class Vault:
    """Everything it writes is sealed. Its methods raise UnavailableError while a key management service is away."""

    def __init__(self, masters: MasterKeys, clock: Clock) -> None:
        self._masters = masters
        self._clock = clock

    def put_credentials(self, session: Session, tenant_id: str, account_id: str, password: str) -> int:
        """Seal a new password of an account; returns its version, which rises each time."""
        row = repository.credentials(session, tenant_id, account_id)
        version = 1 if row is None else row.version + 1
        key_version, key = self._sealing_key(session, tenant_id)
        sealed = seal(key, password.encode(), credentials_place(tenant_id, account_id, version, key_version))
        if row is None:
            row = SealedCredentials(account_id=account_id, tenant_id=tenant_id)
            session.add(row)
        row.version, row.key_version, row.sealed_password = version, key_version, sealed
        row.verdict, row.updated_at = Verdict.UNTRIED, self._clock.now()
        return version

    def open_credentials(self, session: Session, tenant_id: str, account_id: str) -> OpenCredentials:
        """Raises SealBrokenError when there are none or the row is not the one that was sealed."""
        found = self.open_all(session, {account_id: tenant_id})[account_id]
        if isinstance(found, SealBrokenError):
            raise found
        return found

    def open_all(self, session: Session, owners: Mapping[str, str]) -> dict[str, OpenCredentials | SealBrokenError]:
        """Credentials of many accounts, or what is wrong with them, by account id; `owners` says whose each is."""
        rows = repository.sealed_rows(session, owners)
        found: dict[str, OpenCredentials | SealBrokenError] = {}
        for account_id, tenant_id in owners.items():
            try:
                found[account_id] = self._open(tenant_id, account_id, rows.get(account_id))
            except SealBrokenError as error:
                found[account_id] = error
        return found

    def _open(self, tenant_id: str, account_id: str, row: SealedRow | None) -> OpenCredentials:
        if row is None:
            raise SealBrokenError("the account has no credentials, or they name a key that their tenant has not")
        key = self._masters.unwrap(Wrapped(row.master_id, row.wrapped), tenant_key_place(tenant_id, row.key_version))
        sealed_for = credentials_place(tenant_id, account_id, row.version, row.key_version)
        return OpenCredentials(unseal(key, row.sealed, sealed_for).decode(), row.version)

    def version(self, session: Session, tenant_id: str, account_id: str) -> int:
        """Of the credentials, whether or not they can be opened; 0 when there are none."""
        row = repository.credentials(session, tenant_id, account_id)
        return 0 if row is None else row.version

    def erase_credentials(self, session: Session, tenant_id: str, account_id: str) -> None:
        repository.delete_credentials(session, tenant_id, account_id)

    def seal_for_tenant(self, session: Session, tenant_id: str, place: str, plain: bytes) -> Sealed:
        """Seal a small secret of a tenant. `place` names the one row and column that may hold the result.

        Its column has to be among those that a rotation seals anew (`rotation.SealedColumn`).
        """
        key_version, key = self._sealing_key(session, tenant_id)
        return Sealed(key_version, seal(key, plain, tenant_place(tenant_id, place, key_version)))

    def unseal_for_tenant(self, session: Session, tenant_id: str, place: str, sealed: Sealed) -> bytes:
        """Raises SealBrokenError when it is not what was sealed for this place."""
        wrapped = repository.tenant_key(session, tenant_id, sealed.key_version)
        if wrapped is None:
            raise SealBrokenError("the tenant has no such key")
        return unseal(self.open_data_key(wrapped), sealed.content, tenant_place(tenant_id, place, sealed.key_version))

    def put_farm_key(self, session: Session, name: str, private: bytes, public: str) -> None:
        wrapped = self._masters.wrap(private, farm_key_place(name, public))
        session.add(
            FarmKey(
                name=name,
                wrapped=wrapped.value,
                master_id=wrapped.master_id,
                public=public,
                created_at=self._clock.now(),
            )
        )
        session.flush()

    def open_farm_key(self, row: FarmKey) -> bytes:
        """Raises SealBrokenError, also when the master key is not the one of this database."""
        return self._masters.unwrap(Wrapped(row.master_id, row.wrapped), farm_key_place(row.name, row.public))

    def add_data_key(self, session: Session, tenant_id: str) -> tuple[int, bytes]:
        """A new data key of a tenant, which seals from now on: its version and itself."""
        newest = repository.newest_tenant_key(session, tenant_id)
        version, key = 1 if newest is None else newest.version + 1, new_key()
        wrapped = self._masters.wrap(key, tenant_key_place(tenant_id, version))
        session.add(
            TenantKey(
                tenant_id=tenant_id,
                version=version,
                wrapped=wrapped.value,
                master_id=wrapped.master_id,
                created_at=self._clock.now(),
            )
        )
        session.flush()
        return version, key

    def open_data_key(self, row: TenantKey) -> bytes:
        """Raises SealBrokenError."""
        place = tenant_key_place(row.tenant_id, row.version)
        return self._masters.unwrap(Wrapped(row.master_id, row.wrapped), place)

    def _sealing_key(self, session: Session, tenant_id: str) -> tuple[int, bytes]:
        row = repository.newest_tenant_key(session, tenant_id)
        return self.add_data_key(session, tenant_id) if row is None else (row.version, self.open_data_key(row))


def farm_key_place(name: str, public: str) -> str:
    return f"mt5farm/farm-key/1|{name}|{public}"


def tenant_key_place(tenant_id: str, version: int) -> str:
    return f"mt5farm/tenant-key/1|{tenant_id}|{version}"


def credentials_place(tenant_id: str, account_id: str, version: int, key_version: int) -> str:
    return f"mt5farm/vault/1|{tenant_id}|{account_id}|password|{version}|{key_version}"


def tenant_place(tenant_id: str, place: str, key_version: int) -> str:
    return f"mt5farm/tenant/1|{tenant_id}|{place}|{key_version}"
