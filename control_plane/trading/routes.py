"""HTTP of what there is: positions, pending orders, deals and equity."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from control_plane.access.service import answering_target, ask, not_ready
from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.service import require_account
from control_plane.api_route import ApiRoute
from control_plane.bots import repository as bots_repository
from control_plane.http import FarmDep, OwnerDep
from control_plane.paging import (
    Cursor,
    Limit,
    Page,
    Since,
    Until,
    decode_cursor,
    encode_cursor,
    split_page,
)
from control_plane.problems import problem_responses
from control_plane.trading import book_rows, repository
from control_plane.trading.presentation import present_deal, present_equity, present_pending, present_position
from control_plane.trading.schemas import DealOut, EquityCurve, PendingOrderList, PositionList
from control_plane.trading.state import OrderType
from control_plane.trading.validation import pending_type

router = APIRouter(tags=["trading"], route_class=ApiRoute)
Symbol = Annotated[str | None, Query(min_length=1, max_length=32)]


@router.get("/accounts/{account_id}/positions", responses=problem_responses(401, 404, 409))
def list_positions(account_id: str, farm: FarmDep, owner: OwnerDep) -> PositionList:
    """Open positions, straight from the terminal."""
    with farm.database.read(owner.tenant_id) as session:
        target = answering_target(session, owner, account_id, farm.clock)
        bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
    found = ask(farm.door, target, lambda terminal: terminal.positions_get())
    if found is None:
        raise not_ready("The terminal could not list its positions; please try again.")
    return PositionList(items=[present_position(each, bots) for each in found])


@router.get("/accounts/{account_id}/pending-orders", responses=problem_responses(401, 404, 409))
def list_pending_orders(account_id: str, farm: FarmDep, owner: OwnerDep) -> PendingOrderList:
    """Orders that wait for their price, straight from the terminal, whoever placed them."""
    with farm.database.read(owner.tenant_id) as session:
        target = answering_target(session, owner, account_id, farm.clock)
        bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
    found = ask(farm.door, target, lambda terminal: terminal.orders_get())
    if found is None:
        raise not_ready("The terminal could not list its orders; please try again.")
    waiting = [each for each in found if pending_type(each) is not OrderType.MARKET]
    return PendingOrderList(items=[present_pending(each, bots) for each in waiting])


@router.get("/accounts/{account_id}/deals", responses=problem_responses(401, 404, 422))
def list_deals(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    symbol: Symbol = None,
    position_ticket: Annotated[int | None, Query(gt=0, lt=2**63)] = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DealOut]:
    """The trade log, newest first."""
    keys = decode_cursor(cursor, int, int)
    before = (int(keys[0]), int(keys[1])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        only = repository.DealFilter(symbol, position_ticket, since, until)
        page, last = split_page(repository.deals(session, owner, account_id, only, before, limit + 1), limit)
        corrections = book_rows.corrections(session, account_id, [each.ticket for each in page])
        bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
    return Page(
        items=[present_deal(each, bots, corrections) for each in page],
        next_cursor=encode_cursor(last.broker_time_msc, last.ticket) if last else None,
    )


@router.get("/accounts/{account_id}/equity", responses=problem_responses(401, 404, 422))
def get_equity(
    account_id: str, farm: FarmDep, owner: OwnerDep, limit: Annotated[int, Query(ge=2, le=5000)] = 500
) -> EquityCurve:
    """Balance and equity over time, oldest first, thinned evenly to the limit."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        snapshot = accounts_repository.snapshot(session, owner.tenant_id, account_id)
        rows = repository.equity(session, owner, account_id, limit)
    return EquityCurve(currency=snapshot.currency if snapshot else None, items=present_equity(rows))
