"""HTTP of the people of a tenant, for those of the same tenant who look after them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from control_plane.api_route import ApiRoute
from control_plane.http import FarmDep
from control_plane.identity.state import Role
from control_plane.members import repository
from control_plane.members.guards import Keeper, Manager
from control_plane.members.schemas import MemberAccountList, MemberOut, SetMemberPlan, SetMemberRole
from control_plane.members.service import (
    member_tag,
    present_accounts,
    present_member,
    require_member,
    set_plan,
    set_role,
)
from control_plane.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, split_page
from control_plane.preconditions import TAGGED, IfMatch
from control_plane.problems import problem_responses

router = APIRouter(tags=["members"], prefix="/members", route_class=ApiRoute)


@router.get("", responses=problem_responses(401, 403, 422))
def list_members(
    farm: FarmDep, keeper: Keeper, role: Role | None = None, cursor: Cursor = None, limit: Limit = 100
) -> Page[MemberOut]:
    """The people of one's own tenant."""
    keys = decode_cursor(cursor, str)
    with farm.database.read(keeper.tenant_id) as session:
        rows = repository.members(session, keeper.tenant_id, role, keys[0] if keys else None, limit + 1)
    page, last = split_page(rows, limit)
    return Page(items=[present_member(each) for each in page], next_cursor=encode_cursor(last.id) if last else None)


@router.get("/{user_id}", responses={**problem_responses(401, 403, 404), **TAGGED})
def get_member(user_id: str, farm: FarmDep, keeper: Keeper, response: Response) -> MemberOut:
    """One of the people of one's own tenant."""
    with farm.database.read(keeper.tenant_id) as session:
        user = require_member(session, keeper.tenant_id, user_id)
    response.headers["ETag"] = member_tag(user)
    return present_member(user)


@router.get("/{user_id}/accounts", responses=problem_responses(401, 403, 404))
def list_member_accounts(user_id: str, farm: FarmDep, keeper: Keeper) -> MemberAccountList:
    """Somebody's trading accounts, and how their terminals are."""
    with farm.database.read(keeper.tenant_id) as session:
        user = require_member(session, keeper.tenant_id, user_id)
        return MemberAccountList(items=present_accounts(session, user, farm.clock.now()))


@router.put("/{user_id}/role", responses=problem_responses(401, 403, 404, 415, 422, 428))
def set_member_role(
    user_id: str, wish: SetMemberRole, farm: FarmDep, manager: Manager, response: Response, if_match: IfMatch = None
) -> MemberOut:
    """Give somebody of one's own tenant another role, which counts at once. Nobody changes their own.

    Needs If-Match: two managers who decide at the same moment would otherwise overrule each other unseen.
    """
    with farm.database.write(manager.tenant_id) as session:
        user = set_role(session, farm.audit, manager, user_id, wish.role, wish.reason, if_match)
    response.headers["ETag"] = member_tag(user)
    return present_member(user)


@router.put("/{user_id}/plan", responses=problem_responses(401, 403, 404, 415, 422, 428))
def set_member_plan(
    user_id: str, wish: SetMemberPlan, farm: FarmDep, manager: Manager, response: Response, if_match: IfMatch = None
) -> MemberOut:
    """Give somebody of one's own tenant another plan, or none, which limits nothing. It counts at once.

    Bots that the plan does not allow open nothing any more and stop when they hold nothing; open positions stay.
    Needs If-Match, as a role does.
    """
    with farm.database.write(manager.tenant_id) as session:
        user = set_plan(session, farm.plan_changes, manager, user_id, wish, if_match)
    response.headers["ETag"] = member_tag(user)
    return present_member(user)
