"""All SQL of limits, guards and kill switches."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.accounts.repository import owned_ids
from control_plane.assignments.model import Assignment
from control_plane.fleet.model import Node
from control_plane.identity.model import User
from control_plane.identity.owner import Owner
from control_plane.identity.state import OPS_ROLES
from control_plane.risk.model import AccountLimits, GuardObservation, KillSwitch, KillTarget, LimitDefaults
from control_plane.risk.state import KillScope, TargetState
from control_plane.terminals.model import Terminal


@dataclass(frozen=True)
class TargetView:
    """An account under a kill switch, and where its terminal is."""

    target: KillTarget
    account: Account
    terminal: Terminal
    assignment: Assignment | None
    node: Node | None
    observation: GuardObservation | None


def limits_of(session: Session, account_ids: Collection[str]) -> dict[str, AccountLimits]:
    """By account id, of all tenants."""
    query = select(AccountLimits).where(AccountLimits.account_id.in_(account_ids))
    return {row.account_id: row for row in session.scalars(query)}


def held_limits(session: Session, account_id: str) -> AccountLimits | None:
    """As they are now, held until the transaction ends where the database can (SQLite holds everything)."""
    query = select(AccountLimits).where(AccountLimits.account_id == account_id).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def defaults_of(session: Session, tenant_ids: Collection[str]) -> dict[str, LimitDefaults]:
    query = select(LimitDefaults).where(LimitDefaults.tenant_id.in_(tenant_ids))
    return {row.tenant_id: row for row in session.scalars(query)}


def observations(session: Session, account_ids: Collection[str]) -> dict[str, GuardObservation]:
    """By account id, of all tenants."""
    query = select(GuardObservation).where(GuardObservation.account_id.in_(account_ids))
    return {row.account_id: row for row in session.scalars(query, execution_options={"populate_existing": True})}


def nodes_of_tenant(session: Session, tenant_id: str) -> list[str]:
    """Ids of the nodes that hold terminals of a tenant."""
    query = select(Assignment.node_id).where(Assignment.tenant_id == tenant_id, Assignment.released_at.is_(None))
    return sorted(set(session.scalars(query)))


def nodes_of_user(session: Session, owner: Owner) -> list[str]:
    """Ids of the nodes that hold terminals of a user."""
    query = (
        select(Assignment.node_id)
        .join(Terminal, Terminal.id == Assignment.terminal_id)
        .join(Account, Account.id == Terminal.account_id)
        .where(Account.tenant_id == owner.tenant_id, Account.user_id == owner.user_id, Assignment.released_at.is_(None))
    )
    return sorted(set(session.scalars(query)))


def switches_in_force(session: Session) -> list[KillSwitch]:
    """Of all tenants."""
    return list(session.scalars(select(KillSwitch).where(KillSwitch.released_at.is_(None)).order_by(KillSwitch.id)))


def same_in_force(session: Session, scope: KillScope, subject_id: str, mode: str) -> KillSwitch | None:
    query = select(KillSwitch).where(
        KillSwitch.scope == scope,
        KillSwitch.subject_id == subject_id,
        KillSwitch.mode == mode,
        KillSwitch.released_at.is_(None),
    )
    return session.scalars(query.order_by(KillSwitch.id)).first()


def switch(session: Session, kill_id: str, *, hold: bool = False) -> KillSwitch | None:
    query = select(KillSwitch).where(KillSwitch.id == kill_id)
    if hold:
        query = query.with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def switches(session: Session, user: User, *, everybodys: bool, before: str | None, limit: int) -> list[KillSwitch]:
    """Those that a user sees or, with `everybodys`, all of the tenant; newest first."""
    query = select(KillSwitch).where(KillSwitch.tenant_id == user.tenant_id)
    if not everybodys:
        query = query.where(_own(user))
    if before is not None:
        query = query.where(KillSwitch.id < before)
    return list(session.scalars(query.order_by(KillSwitch.id.desc()).limit(limit)))


def is_own(session: Session, user: User, kill_id: str) -> bool:
    query = select(KillSwitch.id).where(KillSwitch.id == kill_id, KillSwitch.tenant_id == user.tenant_id, _own(user))
    return session.scalar(query) is not None


def _own(user: User):  # type: ignore[no-untyped-def]  # a clause, which SQLAlchemy types differently in each version
    accounts = and_(
        KillSwitch.scope == KillScope.ACCOUNT, KillSwitch.subject_id.in_(owned_ids(user.tenant_id, user.id))
    )
    own = or_(accounts, and_(KillSwitch.scope == KillScope.USER, KillSwitch.subject_id == user.id))
    # One of the fleet lies in the operator's tenant, and is the business of all who run the fleet.
    return or_(own, KillSwitch.scope == KillScope.FLEET) if user.role in OPS_ROLES else own


def unspread(session: Session) -> list[str]:
    query = select(KillSwitch.id).where(KillSwitch.spread_at.is_(None), KillSwitch.released_at.is_(None))
    return list(session.scalars(query))


def accounts_in_scope(session: Session, row: KillSwitch) -> list[tuple[Account, str | None]]:
    """The accounts that a switch concerns, and the node of each; of all tenants."""
    query = (
        select(Account, Assignment.node_id)
        .join(Terminal, Terminal.account_id == Account.id)
        .outerjoin(Assignment, (Assignment.terminal_id == Terminal.id) & Assignment.released_at.is_(None))
        .where(Account.deleted_at.is_(None))
    )
    match KillScope(row.scope):
        case KillScope.ACCOUNT:
            query = query.where(Account.id == row.subject_id)
        case KillScope.USER:
            query = query.where(Account.user_id == row.subject_id)
        case KillScope.TENANT:
            query = query.where(Account.tenant_id == row.subject_id)
        case KillScope.FLEET:
            pass
    return [(found[0], found[1]) for found in session.execute(query.order_by(Account.id))]


def targets(session: Session, kill_id: str) -> list[TargetView]:
    """Of all tenants."""
    query = _targets().where(KillTarget.kill_id == kill_id).order_by(Account.id)
    return [TargetView(*row) for row in session.execute(query)]


def open_targets(session: Session) -> list[TargetView]:
    """Of all switches in force that have not come to their end everywhere, of all tenants."""
    query = (
        _targets()
        .join(KillSwitch, KillSwitch.id == KillTarget.kill_id)
        .where(KillSwitch.released_at.is_(None), KillTarget.state != TargetState.DONE)
        .order_by(KillTarget.kill_id, Account.id)
    )
    return [TargetView(*row) for row in session.execute(query, execution_options={"populate_existing": True})]


def target_counts(session: Session, kill_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """How many accounts have come how far, by switch and state."""
    query = select(KillTarget.kill_id, KillTarget.state, func.count()).where(KillTarget.kill_id.in_(kill_ids))
    found: dict[str, dict[str, int]] = {}
    for kill_id, state, count in session.execute(query.group_by(KillTarget.kill_id, KillTarget.state)):
        found.setdefault(kill_id, {})[state] = count
    return found


def terminal_of(session: Session, account_id: str) -> Terminal | None:
    query = select(Terminal).where(Terminal.account_id == account_id).with_for_update()
    return session.scalars(query).one_or_none()


def _targets() -> Select[KillTarget, Account, Terminal, Assignment, Node, GuardObservation]:
    return (
        select(KillTarget, Account, Terminal, Assignment, Node, GuardObservation)
        .join(Account, Account.id == KillTarget.account_id)
        .join(Terminal, Terminal.account_id == Account.id)
        .outerjoin(Assignment, (Assignment.terminal_id == Terminal.id) & Assignment.released_at.is_(None))
        .outerjoin(Node, Node.id == Assignment.node_id)
        .outerjoin(GuardObservation, GuardObservation.account_id == Account.id)
    )
