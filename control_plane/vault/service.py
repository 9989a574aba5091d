"""Seal and unseal."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.vault import repository
from control_plane.vault.model import FarmKey, SealedCredentials, TenantKey
from control_plane.vault.sealing import SealBrokenError, new_key, seal, unseal


@dataclass(frozen=True)
class OpenCredentials:
    """A broker password in the clear; only ever held to be sealed again for a node."""

    password: str = field(repr=False)
    version: int


class Vault:
    """Holds the master key in memory; everything it writes is sealed."""

    def __init__(self, master_key: bytes, clock: Clock) -> None:
        self._master = master_key
        self._clock = clock

    def put_credentials(self, session: Session, tenant_id: str, account_id: str, password: str) -> int:
        """Seal a new password of an account; returns its version, which rises each time."""
        row = repository.credentials(session, tenant_id, account_id)
        version = 1 if row is None else row.version + 1
        key_version, key = self._sealing_key(session, tenant_id)
        sealed = seal(key, password.encode(), _credentials_place(tenant_id, account_id, version, key_version))
        if row is None:
            row = SealedCredentials(account_id=account_id, tenant_id=tenant_id)
            session.add(row)
        row.version, row.key_version, row.sealed_password = version, key_version, sealed
        row.updated_at = self._clock.now()
        return version

    def open_credentials(self, session: Session, tenant_id: str, account_id: str) -> OpenCredentials:
        """Raises SealBrokenError when there are none or the row is not the one that was sealed."""
        row = repository.credentials(session, tenant_id, account_id)
        if row is None:
            raise SealBrokenError("the account has no credentials")
        wrapped = repository.tenant_key(session, tenant_id, row.key_version)
        if wrapped is None:
            raise SealBrokenError("the tenant has no such key")
        key = self._unwrap(wrapped)
        place = _credentials_place(tenant_id, account_id, row.version, row.key_version)
        return OpenCredentials(unseal(key, row.sealed_password, place).decode(), row.version)

    def version(self, session: Session, tenant_id: str, account_id: str) -> int:
        """Of the credentials, whether or not they can be opened; 0 when there are none."""
        row = repository.credentials(session, tenant_id, account_id)
        return 0 if row is None else row.version

    def erase_credentials(self, session: Session, tenant_id: str, account_id: str) -> None:
        repository.delete_credentials(session, tenant_id, account_id)

    def put_farm_key(self, session: Session, name: str, private: bytes, public: str) -> None:
        wrapped = seal(self._master, private, f"mt5farm/farm-key/1|{name}|{public}")
        session.add(FarmKey(name=name, wrapped=wrapped, public=public, created_at=self._clock.now()))
        session.flush()

    def open_farm_key(self, row: FarmKey) -> bytes:
        """Raises SealBrokenError, also when the master key is not the one of this database."""
        return unseal(self._master, row.wrapped, f"mt5farm/farm-key/1|{row.name}|{row.public}")

    def _sealing_key(self, session: Session, tenant_id: str) -> tuple[int, bytes]:
        row = repository.newest_tenant_key(session, tenant_id)
        if row is not None:
            return row.version, self._unwrap(row)
        key = new_key()
        wrapped = seal(self._master, key, _tenant_key_place(tenant_id, 1))
        session.add(TenantKey(tenant_id=tenant_id, version=1, wrapped=wrapped, created_at=self._clock.now()))
        session.flush()
        return 1, key

    def _unwrap(self, row: TenantKey) -> bytes:
        return unseal(self._master, row.wrapped, _tenant_key_place(row.tenant_id, row.version))


def _tenant_key_place(tenant_id: str, version: int) -> str:
    return f"mt5farm/tenant-key/1|{tenant_id}|{version}"


def _credentials_place(tenant_id: str, account_id: str, version: int, key_version: int) -> str:
    return f"mt5farm/vault/1|{tenant_id}|{account_id}|password|{version}|{key_version}"
