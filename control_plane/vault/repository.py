"""All SQL of the vault."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.vault.model import FarmKey, LoginRefusal, SealedCredentials, TenantKey
from control_plane.vault.state import Verdict


@dataclass(frozen=True)
class SealedColumn:
    """A column whose values are sealed with data keys, in a table that also has `tenant_id` and `key_version`.

    Every such column has to be given to the rotation, which deletes the keys that none of them needs.
    """

    model: Any
    row_id: Any
    """The column that names the row."""
    content: str
    """Name of the sealed column."""
    place: Callable[[Any, int], str]
    """What a row's value is bound to, under a data key of the given version."""


@dataclass(frozen=True)
class SealedRow:
    """Credentials with the wrapped key that they were sealed with, as they were at one moment."""

    account_id: str
    version: int
    sealed: bytes
    key_version: int
    wrapped: bytes
    master_id: str


def newest_tenant_key(session: Session, tenant_id: str) -> TenantKey | None:
    query = select(TenantKey).where(TenantKey.tenant_id == tenant_id).order_by(TenantKey.version.desc()).limit(1)
    return session.scalars(query).first()


def tenants_with_keys(session: Session) -> list[str]:
    return list(session.scalars(select(TenantKey.tenant_id).distinct().order_by(TenantKey.tenant_id)))


def credentials(session: Session, tenant_id: str, account_id: str) -> SealedCredentials | None:
    """Held until the transaction ends: a rotation may want to seal the same row anew."""
    query = select(SealedCredentials).where(
        SealedCredentials.tenant_id == tenant_id, SealedCredentials.account_id == account_id
    )
    return session.scalars(query.with_for_update().execution_options(populate_existing=True)).one_or_none()


def sealed_rows(session: Session, owners: Mapping[str, str]) -> dict[str, SealedRow]:
    """By account id; `owners` says which tenant each account is of.

    In one statement, since a rotation may replace row and key between two.
    """
    query = (
        select(
            SealedCredentials.tenant_id,
            SealedCredentials.account_id,
            SealedCredentials.version,
            SealedCredentials.sealed_password,
            TenantKey.version,
            TenantKey.wrapped,
            TenantKey.master_id,
        )
        .join(
            TenantKey,
            (TenantKey.tenant_id == SealedCredentials.tenant_id) & (TenantKey.version == SealedCredentials.key_version),
        )
        .where(SealedCredentials.tenant_id.in_(set(owners.values())), SealedCredentials.account_id.in_(owners))
    )
    rows = [(row[0], SealedRow(*row[1:])) for row in session.execute(query)]
    return {row.account_id: row for tenant_id, row in rows if owners[row.account_id] == tenant_id}


def sealed_with_older_key(
    session: Session, column: SealedColumn, tenant_id: str, version: int, after: str, limit: int
) -> list[Any]:
    """The next rows of a tenant whose key is older than `version`, held; those that another worker holds are left."""
    model = column.model
    query = (
        select(model)
        .where(model.tenant_id == tenant_id, model.key_version < version, column.row_id > after)
        .order_by(column.row_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def tenant_key(session: Session, tenant_id: str, version: int) -> TenantKey | None:
    return session.get(TenantKey, (tenant_id, version))


def tenant_keys(session: Session, tenant_id: str) -> list[TenantKey]:
    return list(session.scalars(select(TenantKey).where(TenantKey.tenant_id == tenant_id).order_by(TenantKey.version)))


def delete_unused_keys(session: Session, columns: Sequence[SealedColumn], tenant_id: str, below: int) -> None:
    statement = delete(TenantKey).where(TenantKey.tenant_id == tenant_id, TenantKey.version < below)
    for column in columns:
        of_tenant = select(column.model.key_version).where(column.model.tenant_id == tenant_id)
        statement = statement.where(TenantKey.version.not_in(of_tenant))
    session.execute(statement.execution_options(synchronize_session=False))


def tenant_keys_of_other_masters(
    session: Session, master_id: str, after: tuple[str, int], limit: int
) -> list[TenantKey]:
    """The next ones that another master key wrapped, held."""
    tenant, version = after
    query = (
        select(TenantKey)
        .where(
            TenantKey.master_id != master_id,
            (TenantKey.tenant_id > tenant) | ((TenantKey.tenant_id == tenant) & (TenantKey.version > version)),
        )
        .order_by(TenantKey.tenant_id, TenantKey.version)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def farm_keys_of_other_masters(session: Session, master_id: str) -> list[FarmKey]:
    query = select(FarmKey).where(FarmKey.master_id != master_id).order_by(FarmKey.name)
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def rows_by_master(session: Session) -> dict[str, int]:
    """How many wrapped keys there are of each master key."""
    counts: dict[str, int] = {}
    for table in (TenantKey, FarmKey):
        for master_id, count in session.execute(select(table.master_id, func.count()).group_by(table.master_id)):
            counts[master_id] = counts.get(master_id, 0) + count
    return counts


def count_credentials(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(SealedCredentials)) or 0


def count_sealed_with_older_keys(session: Session, column: SealedColumn) -> int:
    """Values that are not sealed with the newest key of their tenant."""
    model = column.model
    newest = (
        select(TenantKey.tenant_id, func.max(TenantKey.version).label("version"))
        .group_by(TenantKey.tenant_id)
        .subquery()
    )
    query = (
        select(func.count())
        .select_from(model)
        .join(newest, newest.c.tenant_id == model.tenant_id)
        .where(model.key_version < newest.c.version)
    )
    return session.scalar(query) or 0


def delete_credentials(session: Session, tenant_id: str, account_id: str) -> None:
    session.execute(
        delete(SealedCredentials).where(
            SealedCredentials.tenant_id == tenant_id, SealedCredentials.account_id == account_id
        )
    )


def farm_key(session: Session, name: str) -> FarmKey | None:
    return session.get(FarmKey, name)


def has_farm_keys(session: Session) -> bool:
    return bool(session.scalar(select(func.count()).select_from(FarmKey)))


def verdict(session: Session, tenant_id: str, account_id: str) -> tuple[int, Verdict] | None:
    """The version of an account's password, and what the broker made of it."""
    row = session.execute(
        select(SealedCredentials.version, SealedCredentials.verdict).where(
            SealedCredentials.tenant_id == tenant_id, SealedCredentials.account_id == account_id
        )
    ).one_or_none()
    return None if row is None else (row[0], Verdict(row[1]))


def verdicts(session: Session, account_ids: Collection[str]) -> dict[str, tuple[int, Verdict]]:
    """The same by account id, of all tenants; accounts without a password are left out."""
    sealed = SealedCredentials
    query = select(sealed.account_id, sealed.version, sealed.verdict).where(sealed.account_id.in_(account_ids))
    return {account_id: (version, Verdict(found)) for account_id, version, found in session.execute(query)}


def set_verdict(session: Session, passwords: Collection[tuple[str, int]], verdict: Verdict) -> None:
    """Of these versions of these accounts' passwords; of others nothing changes."""
    sealed = SealedCredentials
    session.execute(
        update(sealed).where(tuple_(sealed.account_id, sealed.version).in_(passwords)).values(verdict=verdict),
        execution_options={"synchronize_session": False},
    )


def refusals_at_server(session: Session, server: str, since: datetime) -> Sequence[datetime]:
    query = select(LoginRefusal.at).where(LoginRefusal.server == server, LoginRefusal.at > since)
    return session.scalars(query).all()


def refusals_by_login(
    session: Session, servers: Collection[str], since: datetime
) -> dict[tuple[str, str, int], list[datetime]]:
    """By tenant, server and login, of all tenants; as `refusals_of_login` for one."""
    query = (
        select(Account.tenant_id, Account.server, Account.login, LoginRefusal.at)
        .join(Account, Account.id == LoginRefusal.account_id)
        .where(LoginRefusal.server.in_(servers), LoginRefusal.at > since)
    )
    found: dict[tuple[str, str, int], list[datetime]] = {}
    for tenant_id, server, login, at in session.execute(query):
        found.setdefault((tenant_id, server, login), []).append(at)
    return found


def refusals_of_login(session: Session, account: Account, since: datetime) -> Sequence[datetime]:
    """Whichever of the tenant's accounts its login was tried for, those that were removed included.

    Not those of other tenants: a stranger with wrong passwords must not keep the owner out.
    """
    query = (
        select(LoginRefusal.at)
        .join(Account, Account.id == LoginRefusal.account_id)
        .where(
            Account.tenant_id == account.tenant_id,
            Account.server == account.server,
            Account.login == account.login,
            LoginRefusal.at > since,
        )
    )
    return session.scalars(query.order_by(LoginRefusal.at)).all()


def delete_old_refusals(session: Session, before: datetime) -> None:
    session.execute(delete(LoginRefusal).where(LoginRefusal.at < before))
