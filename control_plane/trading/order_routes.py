"""HTTP of wishes to trade: orders of all kinds, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from control_plane.accounts.service import require_account
from control_plane.api_route import ApiRoute
from control_plane.errors import NotFoundError
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
from control_plane.trading import repository
from control_plane.trading.model import Order, OrderBatch
from control_plane.trading.presentation import present_order
from control_plane.trading.schemas import (
    CancelAll,
    CancelPending,
    CloseAll,
    CloseBy,
    ClosePosition,
    ModifyPending,
    ModifyPosition,
    OrderBatchOut,
    OrderOut,
    OrderPreview,
    PlaceOrder,
    ResolveOrder,
)
from control_plane.trading.state import SETTLED, OrderKind, OrderState

router = APIRouter(tags=["trading"], route_class=ApiRoute)
Ticket = Annotated[int, Path(gt=0, lt=2**63)]
OrderId = Annotated[str, Path(pattern=r"^ord_[0-9a-z]{16,36}$")]
_TRADE_ERRORS = problem_responses(401, 403, 404, 409, 415, 422)
_STILL_OPEN: dict[int | str, dict[str, Any]] = {
    202: {"model": OrderOut, "description": "The outcome is not known yet; the order will be settled."}
}
_SOME_STILL_OPEN: dict[int | str, dict[str, Any]] = {
    202: {"model": OrderBatchOut, "description": "Some outcomes are not known yet; all orders will be settled."}
}
_TRADE: dict[str, Any] = {
    "status_code": 201,
    "response_model": OrderOut,
    "responses": {**_TRADE_ERRORS, **_STILL_OPEN},
}
_TRADE_MANY: dict[str, Any] = {
    "status_code": 201,
    "response_model": OrderBatchOut,
    "responses": {**_TRADE_ERRORS, **_SOME_STILL_OPEN},
}


@router.post("/accounts/{account_id}/orders", **_TRADE)
def place_order(account_id: str, wish: PlaceOrder, farm: FarmDep, owner: OwnerDep, key: IdempotencyHeader) -> Response:
    """Open a position at the market, or place a pending order.

    An order that the broker refuses is answered with state `refused`.
    """
    return _answer(farm.desk.place(owner, account_id, key, wish))


@router.post("/accounts/{account_id}/orders/preview", responses=_TRADE_ERRORS)
def preview_order(account_id: str, wish: PlaceOrder, farm: FarmDep, owner: OwnerDep) -> OrderPreview:
    """What an order would need and risk, and why it would be refused. Nothing is sent."""
    return farm.desk.preview(owner, account_id, wish)


@router.post("/accounts/{account_id}/positions/close-all", **_TRADE_MANY)
def close_all_positions(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    key: IdempotencyHeader,
    wish: CloseAll | None = None,
) -> Response:
    """Close all positions, or those of a symbol, or those in profit or loss. Each is an order with its own outcome."""
    return _answer_many(*farm.desk.close_all(owner, account_id, key, wish or CloseAll()))


@router.post("/accounts/{account_id}/pending-orders/cancel-all", **_TRADE_MANY)
def cancel_all_pending_orders(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    key: IdempotencyHeader,
    wish: CancelAll | None = None,
) -> Response:
    """Cancel all pending orders, or those of a symbol. Each is an order with its own outcome."""
    return _answer_many(*farm.desk.cancel_all(owner, account_id, key, wish or CancelAll()))


@router.post("/accounts/{account_id}/positions/{ticket}/close", **_TRADE)
def close_position(
    account_id: str,
    ticket: Ticket,
    farm: FarmDep,
    owner: OwnerDep,
    key: IdempotencyHeader,
    wish: ClosePosition | None = None,
) -> Response:
    """Close a position at the market, or a part of it."""
    return _answer(farm.desk.close(owner, account_id, key, ticket, wish or ClosePosition()))


@router.post("/accounts/{account_id}/positions/{ticket}/close-by", **_TRADE)
def close_position_by(
    account_id: str, ticket: Ticket, wish: CloseBy, farm: FarmDep, owner: OwnerDep, key: IdempotencyHeader
) -> Response:
    """Close a position by one on the other side, on accounts that hedge. What is larger of the two stays open."""
    return _answer(farm.desk.close_by(owner, account_id, key, ticket, wish))


@router.post("/accounts/{account_id}/positions/{ticket}/modify", **_TRADE)
def modify_position(
    account_id: str, ticket: Ticket, wish: ModifyPosition, farm: FarmDep, owner: OwnerDep, key: IdempotencyHeader
) -> Response:
    """Set a position's stop loss and take profit."""
    return _answer(farm.desk.modify_position(owner, account_id, key, ticket, wish))


@router.post("/accounts/{account_id}/pending-orders/{ticket}/modify", **_TRADE)
def modify_pending_order(
    account_id: str, ticket: Ticket, wish: ModifyPending, farm: FarmDep, owner: OwnerDep, key: IdempotencyHeader
) -> Response:
    """Set a pending order's prices, stops and end of life."""
    return _answer(farm.desk.modify_pending(owner, account_id, key, ticket, wish))


@router.post("/accounts/{account_id}/pending-orders/{ticket}/cancel", **_TRADE)
def cancel_pending_order(
    account_id: str,
    ticket: Ticket,
    farm: FarmDep,
    owner: OwnerDep,
    key: IdempotencyHeader,
    wish: CancelPending | None = None,
) -> Response:
    """Cancel a pending order."""
    return _answer(farm.desk.cancel(owner, account_id, key, ticket, wish or CancelPending()))


@router.get("/accounts/{account_id}/orders", responses=problem_responses(401, 404, 422))
def list_orders(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    state: OrderState | None = None,
    kind: OrderKind | None = None,
    client_order_id: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    asks_person: bool = False,
    symbol: Annotated[str | None, Query(min_length=1, max_length=32)] = None,
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
        only = repository.OrderFilter(state, kind, client_order_id, asks_person, symbol, since, until)
        page, last = split_page(repository.orders(session, owner, account_id, only, before, limit + 1), limit)
        shown = _present_orders(session, page)
    return Page(items=shown, next_cursor=encode_cursor(last.created_at.isoformat(), last.id) if last else None)


@router.get("/accounts/{account_id}/orders/{order_id}", responses=problem_responses(401, 404, 422))
def get_order(account_id: str, order_id: OrderId, farm: FarmDep, owner: OwnerDep) -> OrderOut:
    """One order, whatever became of it."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        row = repository.order(session, owner.tenant_id, order_id)
        if row is None or row.account_id != account_id:
            raise NotFoundError("There is no such order.", code="order_not_found")
        return _present_orders(session, [row])[0]


@router.post("/accounts/{account_id}/orders/{order_id}/resolve", responses=_TRADE_ERRORS)
def resolve_order(account_id: str, order_id: OrderId, wish: ResolveOrder, farm: FarmDep, owner: OwnerDep) -> OrderOut:
    """Say what became of an order that the farm could not settle (`asks_person`), after a look at the broker."""
    return present_order(farm.desk.resolve(owner, account_id, order_id, wish), {})


def _present_orders(session: Session, rows: Sequence[Order]) -> list[OrderOut]:
    """Of one account."""
    if not rows:
        return []
    tickets = {row.deal_ticket for row in rows if row.deal_ticket}
    entries = repository.entries_of_deals(session, rows[0].tenant_id, rows[0].account_id, tickets)
    return [present_order(row, entries) for row in rows]


def _answer(order: Order) -> Response:
    return _written(present_order(order, {}), [order])


def _answer_many(batch: OrderBatch, orders: Sequence[Order]) -> Response:
    items = [present_order(each, {}) for each in orders]
    return _written(OrderBatchOut(id=batch.id, created_at=batch.created_at, items=items), orders)


def _written(body: BaseModel, orders: Sequence[Order]) -> Response:
    """As it is: the framework would check it once more and copy it."""
    is_open = any(each.state not in SETTLED for each in orders)
    return Response(
        body.model_dump_json(),
        202 if is_open else 201,
        {"Retry-After": "1"} if is_open else {},
        "application/json",
    )
