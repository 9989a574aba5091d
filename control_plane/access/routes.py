"""HTTP of tickets and live market data."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from control_plane.access.port import Target
from control_plane.access.schemas import BarList, IssueTicket, SymbolList, TicketOut, present_ticket
from control_plane.access.service import answering_target, assigned_target, visible_target
from control_plane.accounts.service import require_view
from control_plane.api_route import ApiRoute
from control_plane.audit.service import Deed
from control_plane.entitlements.decision import require_auto_trading
from control_plane.entitlements.service import held_by_one
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.problems import problem_responses
from node_agent.protocol.tickets import Scope

router = APIRouter(tags=["access"], route_class=ApiRoute)


@router.post(
    "/accounts/{account_id}/tickets", status_code=201, responses=problem_responses(401, 403, 404, 409, 415, 422)
)
def issue_ticket(account_id: str, wish: IssueTicket, farm: FarmDep, owner: OwnerDep) -> TicketOut:
    """A permission to open one session with the terminal, or to look at its screen; valid once and for 60 s."""
    with farm.database.read(owner.tenant_id) as session:
        view = require_view(session, owner, account_id)
        if wish.scope is Scope.TRADE:
            require_auto_trading(held_by_one(session, owner.user_id))
        target = visible_target(view) if wish.scope is Scope.VIEW else assigned_target(view)
    issued = farm.tickets.issue(target, wish.scope, f"user:{owner.user_id}")
    with farm.database.write(owner.tenant_id) as session:
        facts = {"ticket": issued.ticket_id, "scope": wish.scope, "terminal": target.terminal_id}
        farm.audit.record(session, owner.tenant_id, Deed(owner.user_id, "issue_ticket", account_id, "", after=facts))
    return present_ticket(issued, target, farm.authority)


@router.delete(
    "/accounts/{account_id}/tickets/{ticket_id}", status_code=204, responses=problem_responses(401, 403, 404, 422, 429)
)
def revoke_ticket(
    account_id: str,
    ticket_id: Annotated[str, Path(pattern=r"^tik_[0-9a-z]{16,32}$")],
    farm: FarmDep,
    owner: OwnerDep,
) -> None:
    """End the session that was opened with this ticket, within seconds; an unused ticket opens none any more."""
    with farm.database.write(owner.tenant_id) as session:
        farm.accounts.revoke_ticket(session, owner, account_id, ticket_id)


@router.post("/accounts/{account_id}/end-sessions", status_code=204, responses=problem_responses(401, 403, 404))
def end_sessions(account_id: str, farm: FarmDep, owner: OwnerDep) -> None:
    """End all sessions with the terminal, within seconds. Tickets issued before open none any more."""
    with farm.database.write(owner.tenant_id) as session:
        farm.accounts.end_access(session, owner, account_id)


@router.get("/accounts/{account_id}/symbols", responses=problem_responses(401, 404, 409))
def list_symbols(account_id: str, farm: FarmDep, owner: OwnerDep) -> SymbolList:
    """All symbols of the broker, with their newest quotes."""
    return SymbolList(items=farm.market.symbols(_target(farm, owner, account_id)))


@router.get("/accounts/{account_id}/bars", responses=problem_responses(401, 404, 409, 422))
def list_bars(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    symbol: Annotated[str, Query(min_length=1, max_length=32)],
    timeframe: Annotated[str, Query(max_length=4)] = "M1",
    count: Annotated[int, Query(ge=1, le=5000)] = 300,
) -> BarList:
    """The newest bars, the forming one included, oldest first."""
    return farm.market.bars(_target(farm, owner, account_id), symbol, timeframe, count)


def _target(farm: FarmDep, owner: Owner, account_id: str) -> Target:
    with farm.database.read(owner.tenant_id) as session:
        return answering_target(session, owner, account_id, farm.clock)
