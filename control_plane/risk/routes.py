"""HTTP of limits, guards and kill switches.

To stop is easy: owners do it at once, keys for programs that may trade can do it, and the requests are in the lane that
nothing else can use up. To allow more again takes a person who has just proved who they are.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from control_plane.accounts.service import require_account
from control_plane.api_route import ApiRoute
from control_plane.container import Farm
from control_plane.db.tenancy import as_system
from control_plane.errors import ForbiddenError, NotFoundError
from control_plane.http import CallerDep, FarmDep, OperatorDep, OwnerDep
from control_plane.identity.model import User
from control_plane.identity.state import CARING_ROLES, OPS_ROLES
from control_plane.members.guards import Keeper, Manager
from control_plane.members.service import require_member
from control_plane.members.state import MAY_CHANGE
from control_plane.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, split_page
from control_plane.preconditions import TAGGED, IfMatch, require_match
from control_plane.problems import problem_responses
from control_plane.risk import repository
from control_plane.risk.kill_switches import Throw
from control_plane.risk.limits import looser
from control_plane.risk.model import KillSwitch
from control_plane.risk.presentation import present_guard, present_report, present_switch
from control_plane.risk.presets import PRESETS
from control_plane.risk.schemas import (
    GuardOut,
    KillReportOut,
    KillSwitchOut,
    LimitDefaultsOut,
    PresetList,
    PresetOut,
    SetLimits,
    ThrowKillSwitch,
    ThrowOverOthers,
)
from control_plane.risk.service import limits_tag, read_limits, require_seen_limits, tenant_limits
from control_plane.risk.state import KillScope

router = APIRouter(tags=["risk"], route_class=ApiRoute)
stop_router = APIRouter(tags=["trading"], route_class=ApiRoute)
_RETRY_AFTER = "1"
_STOPS = problem_responses(401, 403, 404, 415, 422)


@router.get("/limit-presets", responses=problem_responses(401))
def list_limit_presets(_owner: OwnerDep) -> PresetList:
    """Limits to start from, in the style of well-known rules."""
    return PresetList(items=[PresetOut.model_validate(each, from_attributes=True) for each in PRESETS])


@router.get("/accounts/{account_id}/guard", responses={**problem_responses(401, 404), **TAGGED})
def get_guard(account_id: str, farm: FarmDep, owner: OwnerDep, response: Response) -> GuardOut:
    """The limits of an account, and how much of them is used up."""
    with farm.database.read(owner.tenant_id) as session:
        account = require_account(session, owner, account_id)
        response.headers["ETag"] = limits_tag(repository.limits_of(session, [account_id]).get(account_id))
        return present_guard(session, account, farm.clock.now())


@router.put("/accounts/{account_id}/guard", responses={**problem_responses(401, 403, 404, 415, 422), **TAGGED})
def set_limits(
    account_id: str,
    wish: SetLimits,
    farm: FarmDep,
    owner: OwnerDep,
    caller: CallerDep,
    response: Response,
    if_match: IfMatch = None,
) -> GuardOut:
    """Replace all limits of an account. What would allow more than before needs a fresh proof of who you are."""
    with farm.database.write(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        require_seen_limits(session, account_id, if_match)
        before = read_limits(repository.limits_of(session, [account_id]).get(account_id))
        if looser(wish.limits, before):
            farm.second_factors.require_fresh_proof(session, caller)
        farm.risk.set_limits(session, owner, account_id, wish.limits, caller.user.email)
    return get_guard(account_id, farm, owner, response)


@router.post("/accounts/{account_id}/guard/re-arm", status_code=202, responses=problem_responses(401, 403, 404))
def rearm_guard(account_id: str, farm: FarmDep, owner: OwnerDep, caller: CallerDep, response: Response) -> GuardOut:
    """Let an account trade again after a loss limit was hit: losses are counted from now on. Needs a fresh proof."""
    with farm.database.write(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        farm.second_factors.require_fresh_proof(session, caller)
        farm.risk.rearm(session, owner, account_id, caller.user.email)
    response.headers["Retry-After"] = _RETRY_AFTER
    return get_guard(account_id, farm, owner, response)


@router.get("/limit-defaults", responses={**problem_responses(401), **TAGGED})
def get_limit_defaults(farm: FarmDep, owner: OwnerDep, response: Response) -> LimitDefaultsOut:
    """What holds for every account of one's tenant; accounts may only be stricter."""
    with farm.database.read(owner.tenant_id) as session:
        row = repository.defaults_of(session, [owner.tenant_id]).get(owner.tenant_id)
        response.headers["ETag"] = limits_tag(row)
        return LimitDefaultsOut(limits=tenant_limits(session, owner.tenant_id))


@router.put("/limit-defaults", responses={**problem_responses(401, 403, 415, 422), **TAGGED})
def set_limit_defaults(
    wish: SetLimits, farm: FarmDep, manager: Manager, caller: CallerDep, response: Response, if_match: IfMatch = None
) -> LimitDefaultsOut:
    """Replace what holds for every account of one's tenant. Needs a fresh proof."""
    with farm.database.write(manager.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        row = repository.defaults_of(session, [manager.tenant_id]).get(manager.tenant_id)
        require_match(if_match, limits_tag(row))
        farm.risk.set_defaults(session, manager.tenant_id, wish.limits, manager.email)
        after = repository.defaults_of(session, [manager.tenant_id])[manager.tenant_id]
    response.headers["ETag"] = limits_tag(after)
    return LimitDefaultsOut(limits=wish.limits)


@stop_router.post("/accounts/{account_id}/kill", status_code=202, responses=_STOPS)
def kill_account(
    account_id: str, wish: ThrowKillSwitch, farm: FarmDep, owner: OwnerDep, caller: CallerDep, response: Response
) -> KillReportOut:
    """Stop one account: nothing new is opened or, with `close_all`, everything is closed and the terminal stops."""
    with farm.database.write(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        return _throw(farm, session, caller.user, KillScope.ACCOUNT, account_id, wish, response)


@stop_router.post("/kill-switches", status_code=202, responses=_STOPS)
def kill_all_mine(
    wish: ThrowKillSwitch, farm: FarmDep, owner: OwnerDep, caller: CallerDep, response: Response
) -> KillReportOut:
    """The same for all of one's accounts, those that are connected later included."""
    with farm.database.write(owner.tenant_id) as session:
        return _throw(farm, session, caller.user, KillScope.USER, owner.user_id, wish, response)


@stop_router.post("/members/{user_id}/kill", status_code=202, responses=_STOPS)
def kill_member(
    user_id: str, wish: ThrowOverOthers, farm: FarmDep, keeper: Keeper, response: Response
) -> KillReportOut:
    """The same for all accounts of somebody of one's own tenant."""
    with farm.database.write(keeper.tenant_id) as session:
        require_member(session, keeper.tenant_id, user_id)
        return _throw(farm, session, keeper, KillScope.USER, user_id, wish, response)


@stop_router.post("/kill-switches/tenant", status_code=202, responses=_STOPS)
def kill_tenant(wish: ThrowOverOthers, farm: FarmDep, manager: Manager, response: Response) -> KillReportOut:
    """The same for all accounts of one's own tenant."""
    with farm.database.write(manager.tenant_id) as session:
        return _throw(farm, session, manager, KillScope.TENANT, manager.tenant_id, wish, response)


@stop_router.post("/kill-switches/fleet", status_code=202, responses=_STOPS)
def kill_fleet(
    wish: ThrowOverOthers, farm: FarmDep, _operator: OperatorDep, caller: CallerDep, response: Response
) -> KillReportOut:
    """The same for every account of every tenant."""
    with farm.database.write(caller.user.tenant_id) as session:
        return _throw(farm, session, caller.user, KillScope.FLEET, "", wish, response)


@router.get("/kill-switches", responses=problem_responses(401, 422))
def list_kill_switches(
    farm: FarmDep, owner: OwnerDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[KillSwitchOut]:
    """Those over oneself and one's accounts; for people who look after others, all of the tenant; for those who run the
    fleet, those of the fleet. Newest first."""
    keys = decode_cursor(cursor, str)
    everybodys = caller.user.role in CARING_ROLES
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.switches(
            session, caller.user, everybodys=everybodys, before=keys[0] if keys else None, limit=limit + 1
        )
        page, last = split_page(rows, limit)
        with as_system(session):
            counts = repository.target_counts(session, [row.id for row in page])
    items = [present_switch(row, counts.get(row.id, {}), caller.user.email) for row in page]
    return Page(items=items, next_cursor=encode_cursor(last.id) if last else None)


@router.get("/kill-switches/{kill_id}", responses=problem_responses(401, 404))
def get_kill_switch(kill_id: str, farm: FarmDep, owner: OwnerDep, caller: CallerDep) -> KillReportOut:
    """How far every account has come."""
    with farm.database.read(owner.tenant_id) as session:
        return _report(session, _require(session, caller.user, kill_id), caller.user)


@router.post("/kill-switches/{kill_id}/release", status_code=202, responses=problem_responses(401, 403, 404))
def release_kill_switch(
    kill_id: str, farm: FarmDep, owner: OwnerDep, caller: CallerDep, response: Response
) -> KillReportOut:
    """Let the accounts trade again, as far as nothing else holds them. Needs a fresh proof.

    Whom it stopped may not release what was thrown over them by somebody who looks after them; one of the fleet is
    released by those who run the fleet.
    """
    with farm.database.write(owner.tenant_id) as session:
        row = _require(session, caller.user, kill_id, hold=True)
        if not _may_release(row, caller.user):
            raise ForbiddenError("This was thrown by those who look after you; ask them.", code="role_required")
        farm.second_factors.require_fresh_proof(session, caller)
        farm.kill_switches.release(session, row, caller.user.email)
        response.headers["Retry-After"] = _RETRY_AFTER
        return _report(session, row, caller.user)


def _may_release(row: KillSwitch, user: User) -> bool:
    if row.scope == KillScope.FLEET:
        return user.role in OPS_ROLES
    return row.thrown_by == user.email or user.role in MAY_CHANGE


def _throw(
    farm: Farm,
    session: Session,
    user: User,
    scope: KillScope,
    subject_id: str,
    wish: ThrowKillSwitch | ThrowOverOthers,
    response: Response,
) -> KillReportOut:
    throw = Throw(scope, subject_id, user.tenant_id, wish.mode, user.email, wish.reason)
    kill_id = farm.kill_switches.throw(session, throw)
    row = repository.switch(session, kill_id)
    assert row is not None
    response.headers["Retry-After"] = _RETRY_AFTER
    return _report(session, row, user)


def _require(session: Session, user: User, kill_id: str, *, hold: bool = False) -> KillSwitch:
    """One that the user may see. Raises NotFoundError."""
    row = repository.switch(session, kill_id, hold=hold)
    if row is None or not (user.role in CARING_ROLES or repository.is_own(session, user, kill_id)):
        raise NotFoundError("There is no such kill switch.", code="kill_switch_not_found")
    return row


def _report(session: Session, row: KillSwitch, reader: User) -> KillReportOut:
    with as_system(session):  # of the fleet, it concerns accounts of all tenants
        return present_report(row, repository.targets(session, row.id), reader.email)
