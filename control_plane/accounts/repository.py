"""All SQL of trading accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Select, bindparam, delete, func, select
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account, AccountSnapshotRow, ConnectionTest
from control_plane.assignments.model import Assignment
from control_plane.db.tenancy import lasting
from control_plane.fleet.model import Node
from control_plane.identity.owner import Owner
from control_plane.terminals.model import Terminal, TerminalObservation
from control_plane.terminals.state import Intent


@dataclass(frozen=True)
class AccountView:
    """An account with everything that is shown of it."""

    account: Account
    terminal: Terminal
    observation: TerminalObservation | None
    assignment: Assignment | None
    node: Node | None
    snapshot: AccountSnapshotRow | None


@dataclass(frozen=True)
class AccountFilter:
    """Which accounts to list; None for any."""

    server: str | None = None
    intent: Intent | None = None


_ANY = AccountFilter()


def view(session: Session, owner: Owner, account_id: str) -> AccountView | None:
    found = {"tenant_id": owner.tenant_id, "user_id": owner.user_id, "account_id": account_id}
    row = session.execute(_VIEW, found).one_or_none()
    return None if row is None else AccountView(*row)


def views(
    session: Session, owner: Owner, after_id: str | None, limit: int, only: AccountFilter = _ANY
) -> list[AccountView]:
    """In the order they were connected."""
    query = _views(owner).order_by(Account.id).limit(limit)
    if only.server is not None:
        query = query.where(Account.server == only.server)
    if only.intent is not None:
        query = query.where(Terminal.intent == only.intent)
    if after_id is not None:
        query = query.where(Account.id > after_id)
    return [AccountView(*row) for row in session.execute(query)]


def owned(session: Session, owner: Owner, account_id: str) -> Account | None:
    query = select(Account).where(
        Account.id == account_id,
        Account.tenant_id == owner.tenant_id,
        Account.user_id == owner.user_id,
        Account.deleted_at.is_(None),
    )
    return session.scalars(query).one_or_none()


def all_owned(session: Session, owner: Owner) -> list[Account]:
    query = select(Account).where(
        Account.tenant_id == owner.tenant_id, Account.user_id == owner.user_id, Account.deleted_at.is_(None)
    )
    return list(session.scalars(query.order_by(Account.id)))


def owned_ids(tenant_id: str, user_id: str) -> Select[str]:
    """Ids of a user's accounts, as a part of other queries."""
    return select(Account.id).where(Account.tenant_id == tenant_id, Account.user_id == user_id)


def with_login(session: Session, owner: Owner, server: str, login: int) -> Account | None:
    query = select(Account).where(
        Account.tenant_id == owner.tenant_id,
        Account.user_id == owner.user_id,
        Account.server == server,
        Account.login == login,
        Account.deleted_at.is_(None),
    )
    return session.scalars(query).one_or_none()


def of_tenant(session: Session, tenant_id: str, account_id: str) -> Account | None:
    """For the farm's own work, also when the account is deleted."""
    query = select(Account).where(Account.tenant_id == tenant_id, Account.id == account_id)
    return session.scalars(query).one_or_none()


def snapshot(session: Session, tenant_id: str, account_id: str) -> AccountSnapshotRow | None:
    query = select(AccountSnapshotRow).where(
        AccountSnapshotRow.tenant_id == tenant_id, AccountSnapshotRow.account_id == account_id
    )
    return session.scalars(query).one_or_none()


@dataclass(frozen=True, slots=True)
class AccountColumns:
    """An account where an object would cost more than all that is done with it."""

    id: str
    tenant_id: str
    user_id: str
    login: int
    server: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What the owner of an account is shown of its newest snapshot."""

    taken_at: datetime = field(compare=False)
    balance: Decimal
    equity: Decimal
    profit: Decimal
    positions: int


def owned_test(session: Session, owner: Owner, test_id: str) -> ConnectionTest | None:
    query = select(ConnectionTest).where(
        ConnectionTest.id == test_id,
        ConnectionTest.tenant_id == owner.tenant_id,
        ConnectionTest.user_id == owner.user_id,
    )
    return session.scalars(query).one_or_none()


def count_open_tests(session: Session, owner: Owner) -> int:
    query = select(func.count()).where(
        ConnectionTest.tenant_id == owner.tenant_id,
        ConnectionTest.user_id == owner.user_id,
        ConnectionTest.finished_at.is_(None),
    )
    return session.scalar(query) or 0


def open_tests(session: Session) -> list[ConnectionTest]:
    """Of all tenants, the oldest first."""
    query = select(ConnectionTest).where(ConnectionTest.finished_at.is_(None))
    return list(session.scalars(query.order_by(ConnectionTest.started_at, ConnectionTest.id)))


def held_test(session: Session, test_id: str) -> ConnectionTest | None:
    """Of any tenant, as it is now, held until the transaction ends where the database can."""
    query = select(ConnectionTest).where(ConnectionTest.id == test_id).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def is_test(session: Session, account: Account) -> bool:
    """Whether an account exists for a test of a connection alone."""
    if account.deleted_at is None:  # so that no query is made for each event of the others
        return False
    return session.scalar(select(ConnectionTest.id).where(ConnectionTest.account_id == account.id)) is not None


def delete_old_tests(session: Session, before: datetime) -> None:
    session.execute(delete(ConnectionTest).where(ConnectionTest.finished_at < before))


def test_view(session: Session, test: ConnectionTest) -> AccountView:
    query = _with_terminal().where(Account.id == test.account_id)
    return AccountView(*session.execute(query).one())


def _views(owner: Owner) -> Select[Account, Terminal, TerminalObservation, Assignment, Node, AccountSnapshotRow]:
    return _with_terminal().where(
        Account.tenant_id == owner.tenant_id,
        Account.user_id == owner.user_id,
        Account.deleted_at.is_(None),
    )


def _with_terminal() -> Select[Account, Terminal, TerminalObservation, Assignment, Node, AccountSnapshotRow]:
    return (
        select(Account, Terminal, TerminalObservation, Assignment, Node, AccountSnapshotRow)
        .join(Terminal, Terminal.account_id == Account.id)
        .outerjoin(TerminalObservation, TerminalObservation.terminal_id == Terminal.id)
        .outerjoin(Assignment, (Assignment.terminal_id == Terminal.id) & Assignment.released_at.is_(None))
        .outerjoin(Node, Node.id == Assignment.node_id)
        .outerjoin(AccountSnapshotRow, AccountSnapshotRow.account_id == Account.id)
    )


_VIEW = lasting(
    _with_terminal().where(
        Account.id == bindparam("account_id"),
        Account.tenant_id == bindparam("tenant_id"),
        Account.user_id == bindparam("user_id"),
        Account.deleted_at.is_(None),
    )
)
