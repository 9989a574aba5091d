"""HTTP of copy trading."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.api_route import ApiRoute
from control_plane.copying import repository
from control_plane.copying.hedging import refuse_netting
from control_plane.copying.model import CopyInvitation, CopyLink, CopyStep
from control_plane.copying.schemas import (
    CopiedPositionList,
    CopiedPositionOut,
    CopiedTradeOut,
    CopierList,
    CopierOut,
    CopyInvitationCode,
    CopyInvitationList,
    CopyInvitationOut,
    InviteToCopy,
    SetCopyRules,
    StartCopying,
)
from control_plane.copying.service import copier_tag, present_copier
from control_plane.copying.state import CopierState, LinkState, StepKind, StepState
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.paging import Cursor, Limit, Page, decode_cursor, decode_moment, encode_cursor, split_page
from control_plane.preconditions import TAGGED, IfMatch, require_match
from control_plane.problems import problem_responses
from control_plane.trading.state import Side

router = APIRouter(tags=["copying"], route_class=ApiRoute)
_COPIER = "/copiers/{copier_id}"


@router.get("/copiers", responses=problem_responses(401))
def list_copiers(farm: FarmDep, owner: OwnerDep) -> CopierList:
    """What one leads and what one follows, the newest first."""
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.copiers(session, owner)
        return CopierList(items=[present_copier(session, owner, row) for row in rows])


@router.post("/copiers", status_code=201, responses=problem_responses(401, 403, 404, 409, 415, 422))
def start_copying(wish: StartCopying, farm: FarmDep, owner: OwnerDep) -> CopierOut:
    """Have an account follow another: one's own, or one whose owner has given one a code."""
    with farm.database.read(owner.tenant_id) as session:
        leader, follower = farm.copying.sides(session, owner, wish)
    refuse_netting(farm.database, farm.door, farm.clock, leader, follower)
    with farm.database.write(owner.tenant_id) as session:
        row = farm.copying.start(session, owner, wish)
        return present_copier(session, owner, row)


@router.get(_COPIER, responses={**problem_responses(401, 404), **TAGGED})
def get_copier(copier_id: str, farm: FarmDep, owner: OwnerDep, response: Response) -> CopierOut:
    with farm.database.read(owner.tenant_id) as session:
        row = farm.copying.require(session, owner, copier_id)
        response.headers["ETag"] = copier_tag(row)
        return present_copier(session, owner, row)


@router.put(_COPIER, responses={**problem_responses(401, 403, 404, 409, 412, 415, 422), **TAGGED})
def change_copying(
    copier_id: str, rules: SetCopyRules, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None
) -> CopierOut:
    """Other rules, for what is copied from now on."""
    with farm.database.write(owner.tenant_id) as session:
        require_match(if_match, copier_tag(farm.copying.require_follower(session, owner, copier_id)))
        row = farm.copying.change(session, owner, copier_id, rules)
        response.headers["ETag"] = copier_tag(row)
        return present_copier(session, owner, row)


@router.post(f"{_COPIER}/pause", responses=problem_responses(401, 403, 404, 409))
def pause_copying(copier_id: str, farm: FarmDep, owner: OwnerDep) -> CopierOut:
    """Open nothing new; what is open is followed to its end."""
    return _enter(farm, owner, copier_id, CopierState.PAUSED)


@router.post(f"{_COPIER}/resume", responses=problem_responses(401, 403, 404, 409))
def resume_copying(copier_id: str, farm: FarmDep, owner: OwnerDep) -> CopierOut:
    """What the leader has opened meanwhile is left out as too old."""
    return _enter(farm, owner, copier_id, CopierState.ACTIVE)


@router.post(f"{_COPIER}/stop", responses=problem_responses(401, 403, 404, 409))
def stop_copying(copier_id: str, farm: FarmDep, owner: OwnerDep) -> CopierOut:
    """End it for good, from either side. The follower's positions stay as they are."""
    return _enter(farm, owner, copier_id, CopierState.STOPPED)


@router.get(f"{_COPIER}/positions", responses=problem_responses(401, 404, 422))
def list_copied_positions(
    copier_id: str, farm: FarmDep, owner: OwnerDep, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> CopiedPositionList:
    """The leader's positions and what became of each at the follower, the newest first."""
    with farm.database.read(owner.tenant_id) as session:
        farm.copying.require_follower(session, owner, copier_id)
        rows = repository.shown_links(session, copier_id, limit)
    return CopiedPositionList(items=[_present_link(row) for row in rows])


@router.get(f"{_COPIER}/trades", responses=problem_responses(401, 404, 422))
def list_copied_trades(
    copier_id: str, farm: FarmDep, owner: OwnerDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[CopiedTradeOut]:
    """Each order at the follower with its lag and slippage, the newest first."""
    keys = decode_cursor(cursor, str, int, int)
    before = (decode_moment(keys[0]), int(keys[1]), int(keys[2])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        farm.copying.require_follower(session, owner, copier_id)
        page, last = split_page(repository.steps(session, copier_id, before, limit + 1), limit)
    following = encode_cursor(last.created_at.isoformat(), last.leader_ticket, last.number) if last else None
    return Page(items=[_present_step(row) for row in page], next_cursor=following)


@router.get("/copy-invitations", responses=problem_responses(401))
def list_copy_invitations(farm: FarmDep, owner: OwnerDep) -> CopyInvitationList:
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.invitations(session, owner)
    return CopyInvitationList(items=[_present_invitation(row) for row in rows])


@router.post("/copy-invitations", status_code=201, responses=problem_responses(401, 403, 404, 415, 422))
def invite_to_copy(wish: InviteToCopy, farm: FarmDep, owner: OwnerDep) -> CopyInvitationCode:
    """Let somebody of the same tenant follow an account of one's own. The code is shown this once."""
    with farm.database.write(owner.tenant_id) as session:
        row, code = farm.copying.invite(session, owner, wish)
    return CopyInvitationCode(**_present_invitation(row).model_dump(), code=code)


@router.delete("/copy-invitations/{copy_invitation_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_copy_invitation(copy_invitation_id: str, farm: FarmDep, owner: OwnerDep) -> None:
    """Its code is of no use any more. Who follows already goes on until copying is stopped."""
    with farm.database.write(owner.tenant_id) as session:
        farm.copying.revoke_invitation(session, owner, copy_invitation_id)


def _enter(farm: FarmDep, owner: Owner, copier_id: str, state: CopierState) -> CopierOut:
    with farm.database.write(owner.tenant_id) as session:
        row = farm.copying.enter(session, owner, copier_id, state)
        return present_copier(session, owner, row)


def _present_link(row: CopyLink) -> CopiedPositionOut:
    return CopiedPositionOut(
        leader_ticket=row.leader_ticket,
        follower_ticket=row.follower_ticket or None,
        state=LinkState(row.state),
        symbol=row.symbol,
        leader_volume=row.leader_volume,
        follower_volume=row.follower_volume,
        note=row.note,
        changed_at=row.changed_at,
    )


def _present_step(row: CopyStep) -> CopiedTradeOut:
    return CopiedTradeOut(
        leader_ticket=row.leader_ticket,
        number=row.number,
        kind=StepKind(row.kind),
        symbol=row.symbol,
        side=Side(row.side),
        volume=row.volume,
        state=StepState(row.state),
        message=row.message,
        order_id=row.order_id or None,
        leader_price=row.leader_price,
        price=row.price,
        slippage_points=row.slippage_points,
        lag_ms=row.lag_ms,
        created_at=row.created_at,
        settled_at=row.settled_at,
    )


def _present_invitation(row: CopyInvitation) -> CopyInvitationOut:
    return CopyInvitationOut(
        id=row.id,
        account_id=row.account_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )
