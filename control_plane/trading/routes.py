"""HTTP of orders, positions, deals and equity."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.orm import Session

from control_plane.access.service import answering_target, ask, not_ready
from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.service import require_account
from control_plane.api_route import ApiRoute
from control_plane.bots import repository as bots_repository
from control_plane.http import FarmDep, IdempotencyHeader, OwnerDep
from control_plane.paging import (
    Cursor,
    Limit,
    Page,
    Since,
    Until,
    decode_cursor,
    decode_moment,
    encode_cursor,
    split_page,
)
from control_plane.problems import problem_responses
from control_plane.trading import book_rows, repository
from control_plane.trading.model import Order
from control_plane.trading.presentation import present_deal, present_equity, present_order, present_position
from control_plane.trading.schemas import ClosePosition, DealOut, EquityCurve, OrderOut, PlaceOrder, PositionList
from control_plane.trading.state import SETTLED, OrderState

router = APIRouter(tags=["trading"], route_class=ApiRoute)
Symbol = Annotated[str | None, Query(min_length=1, max_length=32)]
_TRADE_ERRORS = problem_responses(401, 403, 404, 409, 415, 422)
_STILL_OPEN: dict[int | str, dict[str, Any]] = {
    202: {"model": OrderOut, "description": "The outcome is not known yet; the order will be settled."}
}


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


@router.post(
    "/accounts/{account_id}/orders",
    status_code=201,
    response_model=OrderOut,
    responses={**_TRADE_ERRORS, **_STILL_OPEN},
)
def place_order(
    account_id: str, wish: PlaceOrder, farm: FarmDep, owner: OwnerDep, key: IdempotencyHeader, response: Response
) -> OrderOut:
    """Open a position at the market. An order that the broker refuses is answered with state `refused`."""
    return _answer(farm, farm.desk.place(owner, account_id, key, wish), response)


@router.post(
    "/accounts/{account_id}/positions/{ticket}/close",
    status_code=201,
    response_model=OrderOut,
    responses={**_TRADE_ERRORS, **_STILL_OPEN},
)
def close_position(
    account_id: str,
    ticket: Annotated[int, Path(gt=0, lt=2**63)],
    farm: FarmDep,
    owner: OwnerDep,
    key: IdempotencyHeader,
    response: Response,
    wish: ClosePosition | None = None,
) -> OrderOut:
    """Close a position at the market, or a part of it."""
    order = farm.desk.close(owner, account_id, key, ticket, wish or ClosePosition())
    return _answer(farm, order, response)


@router.get("/accounts/{account_id}/orders", responses=problem_responses(401, 404, 422))
def list_orders(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    state: OrderState | None = None,
    symbol: Symbol = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[OrderOut]:
    """Orders placed here, and those of bots and scripts from the bridge's journal; newest first."""
    keys = decode_cursor(cursor, str, str)
    before = (decode_moment(keys[0]), str(keys[1])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        only = repository.OrderFilter(state, symbol, since, until)
        page, last = split_page(repository.orders(session, owner, account_id, only, before, limit + 1), limit)
        shown = present_orders(session, page)
    return Page(items=shown, next_cursor=encode_cursor(last.created_at.isoformat(), last.id) if last else None)


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


def present_orders(session: Session, rows: list[Order]) -> list[OrderOut]:
    """Of one account."""
    if not rows:
        return []
    tickets = {row.deal_ticket for row in rows if row.deal_ticket}
    entries = repository.entries_of_deals(session, rows[0].tenant_id, rows[0].account_id, tickets)
    return [present_order(row, entries) for row in rows]


def _answer(farm: FarmDep, order: Order, response: Response) -> OrderOut:
    if order.state not in SETTLED:
        response.status_code = 202
        response.headers["Retry-After"] = "1"
    with farm.database.read(order.tenant_id) as session:
        return present_orders(session, [order])[0]
