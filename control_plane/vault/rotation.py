"""Replaces master keys and data keys while the farm runs, a few rows in each transaction.

Whatever stops it, running it again goes on: which rows are left is told by the rows themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.db.engine import Database
from control_plane.vault import repository
from control_plane.vault.masters import MasterKeys, Wrapped
from control_plane.vault.model import FarmKey, SealedCredentials, TenantKey
from control_plane.vault.repository import SealedColumn
from control_plane.vault.sealing import SealBrokenError, seal, unseal
from control_plane.vault.service import Vault, credentials_place, farm_key_place, tenant_key_place

_BATCH = 200
_log = structlog.get_logger(__name__)

Report = Callable[[int], None]
"""Told how many more rows are done."""


@dataclass(frozen=True)
class Progress:
    newest_master: str
    wrapped_by_master: dict[str, int]
    """How many keys each master key still wraps; an empty id stands for rows from before ids were kept."""
    credentials: int
    sealed_with_older_keys: int


@dataclass(frozen=True)
class Outcome:
    done: int
    broken: int
    """Rows that cannot be opened; they were left as they are, and so were the keys they name."""

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.done + other.done, self.broken + other.broken)


NOTHING = Outcome(0, 0)
PASSWORDS = SealedColumn(
    SealedCredentials,
    SealedCredentials.account_id,
    "sealed_password",
    lambda row, key_version: credentials_place(row.tenant_id, row.account_id, row.version, key_version),
)


class Rotation:
    def __init__(
        self, database: Database, vault: Vault, masters: MasterKeys, others: Sequence[SealedColumn] = ()
    ) -> None:
        """`others` are the sealed columns besides the passwords."""
        self._database = database
        self._vault = vault
        self._masters = masters
        self.columns = (PASSWORDS, *others)

    def progress(self) -> Progress:
        with self._database.read_as_system() as session:
            return Progress(
                newest_master=self._masters.newest_id(),
                wrapped_by_master=repository.rows_by_master(session),
                credentials=repository.count_credentials(session),
                sealed_with_older_keys=sum(
                    repository.count_sealed_with_older_keys(session, column) for column in self.columns
                ),
            )

    def start_master_rotation(self) -> str:
        """A new master key wraps from now on. Returns its id; `rewrap` carries the old wraps over."""
        return self._masters.rotate()

    def rewrap(self, report: Report) -> Outcome:
        """Wrap with the newest master key whatever another one has wrapped."""
        newest = self._masters.newest_id()
        with self._database.write_as_system() as session:
            total = self._rewrap_farm_keys(session, newest)
        after = ("", 0)
        while True:
            with self._database.write_as_system() as session:
                rows = repository.tenant_keys_of_other_masters(session, newest, after, _BATCH)
                total += sum((self._rewrap_tenant_key(row) for row in rows), NOTHING)
            if not rows:
                return total
            report(len(rows))
            after = rows[-1].tenant_id, rows[-1].version

    def retire_masters(self) -> list[str]:
        """Hold those master keys no longer that wrap nothing. Returns the older ones that still do."""
        progress = self.progress()
        left = [each for each in progress.wrapped_by_master if each != progress.newest_master]
        if "" not in left:  # a row of unknown origin may need any of them
            self._masters.retire_all_but({progress.newest_master, *left})
        return left

    def start_data_key_rotation(self) -> int:
        """Every tenant gets a new data key, which seals from now on. Returns how many; `reseal` does the rest."""
        with self._database.read_as_system() as session:
            tenants = repository.tenants_with_keys(session)
        for tenant_id in tenants:
            with self._database.write_as_system() as session:
                self._vault.add_data_key(session, tenant_id)
        return len(tenants)

    def reseal(self, report: Report) -> Outcome:
        """Seal with the newest data key of its tenant whatever an older one has sealed, and delete the older ones."""
        with self._database.read_as_system() as session:
            tenants = repository.tenants_with_keys(session)
        return sum((self._reseal_tenant(tenant_id, report) for tenant_id in tenants), NOTHING)

    def _reseal_tenant(self, tenant_id: str, report: Report) -> Outcome:
        with self._database.read_as_system() as session:
            keys = self._open_keys(session, tenant_id)
            newest = max((row.version for row in repository.tenant_keys(session, tenant_id)), default=0)
        if newest not in keys:
            return NOTHING
        total = NOTHING
        for column in self.columns:
            total += self._reseal_column(column, tenant_id, keys, newest, report)
        self._delete_unused(tenant_id, newest)
        return total

    def _reseal_column(
        self, column: SealedColumn, tenant_id: str, keys: dict[int, bytes], newest: int, report: Report
    ) -> Outcome:
        total, after = NOTHING, ""
        while True:
            with self._database.write_as_system() as session:
                rows = repository.sealed_with_older_key(session, column, tenant_id, newest, after, _BATCH)
                total += sum((_reseal(column, row, keys, newest) for row in rows), NOTHING)
            if not rows:
                return total
            report(len(rows))
            after = str(getattr(rows[-1], column.row_id.key))

    def _open_keys(self, session: Session, tenant_id: str) -> dict[int, bytes]:
        keys = {}
        for row in repository.tenant_keys(session, tenant_id):
            try:
                keys[row.version] = self._vault.open_data_key(row)
            except SealBrokenError:
                _log.error("tenant_key_cannot_be_opened", tenant=tenant_id, version=row.version)
        return keys

    def _delete_unused(self, tenant_id: str, newest: int) -> None:
        try:
            with self._database.write_as_system() as session:
                repository.delete_unused_keys(session, self.columns, tenant_id, newest)
        except IntegrityError:
            # A writer that had read the older key before the newest was there has just used it; the next run deletes.
            _log.info("older_key_still_used", tenant=tenant_id)

    def _rewrap_farm_keys(self, session: Session, newest: str) -> Outcome:
        rows = repository.farm_keys_of_other_masters(session, newest)
        return sum((self._rewrap(row, farm_key_place(row.name, row.public)) for row in rows), NOTHING)

    def _rewrap_tenant_key(self, row: TenantKey) -> Outcome:
        return self._rewrap(row, tenant_key_place(row.tenant_id, row.version))

    def _rewrap(self, row: FarmKey | TenantKey, place: str) -> Outcome:
        try:
            plain = self._masters.unwrap(Wrapped(row.master_id, row.wrapped), place)
        except SealBrokenError:
            _log.error("key_cannot_be_opened", place=place[:100])
            return Outcome(0, 1)
        wrapped = self._masters.wrap(plain, place)
        row.wrapped, row.master_id = wrapped.value, wrapped.master_id
        return Outcome(1, 0)


def _reseal(column: SealedColumn, row: Any, keys: dict[int, bytes], newest: int) -> Outcome:
    key = keys.get(row.key_version)
    try:
        plain = None if key is None else unseal(key, getattr(row, column.content), column.place(row, row.key_version))
    except SealBrokenError:
        plain = None
    if plain is None:
        _log.error("sealed_value_cannot_be_opened", table=row.__tablename__, row=getattr(row, column.row_id.key))
        return Outcome(0, 1)
    setattr(row, column.content, seal(keys[newest], plain, column.place(row, newest)))
    row.key_version = newest
    return Outcome(1, 0)
