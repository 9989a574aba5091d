"""Show the people of a tenant, and give them roles and plans."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.service import present_account
from control_plane.audit.service import Audit, Deed
from control_plane.entitlements.change import PlanChanges
from control_plane.entitlements.plans import Plan
from control_plane.errors import ForbiddenError, NotFoundError
from control_plane.identity.model import User
from control_plane.identity.owner import Owner
from control_plane.identity.state import Role
from control_plane.members import repository
from control_plane.members.schemas import MemberAccountOut, MemberOut, SetMemberPlan
from control_plane.members.state import may_change_role
from control_plane.preconditions import entity_tag, require_match

_MOST_ACCOUNTS = 500


def require_member(session: Session, tenant_id: str, user_id: str) -> User:
    """Raises NotFoundError for somebody of another tenant as for nobody."""
    user = repository.member(session, tenant_id, user_id)
    if user is None:
        raise NotFoundError("There is no such member.", code="member_not_found")
    return user


def set_role(
    session: Session, audit: Audit, by: User, user_id: str, role: Role, reason: str, if_match: str | None
) -> User:
    """Raises NotFoundError, or ForbiddenError for a role that is not theirs to give, and for their own.

    Raises as `require_match` when the person is not, or not said to be, as the one who decides has seen them.
    """
    require_member(session, by.tenant_id, user_id)
    user = repository.held_member(session, by.tenant_id, user_id)
    if user.id == by.id or not may_change_role(Role(by.role), Role(user.role), role):
        raise ForbiddenError("You cannot give this role to this person.", code="role_required")
    require_match(if_match, member_tag(user), needed=True)
    before, user.role = user.role, role
    deed = Deed(by.email, "set_role", user.id, reason, before={"role": before}, after={"role": role})
    audit.record(session, user.tenant_id, deed)
    return user


def set_plan(
    session: Session, plans: PlanChanges, by: User, user_id: str, wish: SetMemberPlan, if_match: str | None
) -> User:
    """Raises NotFoundError, and as `require_match` like `set_role`."""
    require_member(session, by.tenant_id, user_id)
    user = repository.held_member(session, by.tenant_id, user_id)
    require_match(if_match, member_tag(user), needed=True)
    if user.plan != wish.plan:
        plans.give(session, user, wish.plan, by.email, wish.reason)
    return user


def member_tag(user: User) -> str:
    return entity_tag(user.id, user.role, user.plan or "")


def present_member(user: User) -> MemberOut:
    return MemberOut(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        role=Role(user.role),
        plan=None if user.plan is None else Plan(user.plan),
        created_at=user.created_at,
    )


def present_accounts(session: Session, user: User, now: datetime) -> list[MemberAccountOut]:
    views = accounts_repository.views(session, Owner(user.tenant_id, user.id), None, _MOST_ACCOUNTS)
    shown = [present_account(view, now) for view in views]
    return [
        MemberAccountOut(id=each.id, label=each.label, login=each.login, server=each.server, terminal=each.terminal)
        for each in shown
    ]
