"""HTTP of the broker's book: corrections, history orders, positions as last seen, reconciliation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.orm import Session

from control_plane.accounts.service import require_account
from control_plane.api_route import ApiRoute
from control_plane.bots import repository as bots_repository
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.paging import Cursor, Limit, Page, decode_cursor, decode_moment, encode_cursor, split_page
from control_plane.problems import problem_responses
from control_plane.trading import book_rows
from control_plane.trading.book_presentation import (
    present_correction,
    present_difference,
    present_history_order,
    present_reconciliation,
    present_seen_position,
)
from control_plane.trading.book_schemas import (
    CorrectionList,
    DifferenceOut,
    HistoryOrderOut,
    ReconciliationOut,
    SeenPositions,
)
from control_plane.trading.service import never_compared
from control_plane.trading.state import DifferenceState

router = APIRouter(tags=["trading"], route_class=ApiRoute, prefix="/accounts/{account_id}")
Symbol = Annotated[str | None, Query(min_length=1, max_length=32)]
Ticket = Annotated[int, Path(gt=0, lt=2**63)]
PositionTicket = Annotated[int | None, Query(gt=0, lt=2**63)]
_ERRORS = problem_responses(401, 404, 422)


@router.get("/deals/{ticket}/corrections", responses=_ERRORS)
def list_deal_corrections(account_id: str, ticket: Ticket, farm: FarmDep, owner: OwnerDep) -> CorrectionList:
    """What the broker has edited of a deal since it was recorded, oldest first; empty for a deal it never edited."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        rows = book_rows.corrections(session, account_id, [ticket])
    return CorrectionList(items=[present_correction(each) for each in rows])


@router.get("/history-orders", responses=_ERRORS)
def list_history_orders(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    symbol: Symbol = None,
    position_ticket: PositionTicket = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[HistoryOrderOut]:
    """Orders of the broker's history, whoever placed them; newest first."""
    keys = decode_cursor(cursor, int, int)
    before = (int(keys[0]), int(keys[1])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        rows = book_rows.history_orders(session, owner, account_id, symbol, position_ticket, before, limit + 1)
        page, last = split_page(rows, limit)
        bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
    return Page(
        items=[present_history_order(each, bots) for each in page],
        next_cursor=encode_cursor(last.time_done_msc, last.ticket) if last else None,
    )


@router.get("/positions/last-seen", responses=problem_responses(401, 404))
def get_positions_last_seen(account_id: str, farm: FarmDep, owner: OwnerDep) -> SeenPositions:
    """Open positions as the terminal last showed them; the terminal is not asked."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        sight = book_rows.positions(session, account_id)
        bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
    if sight is None:
        return SeenPositions(seen_at=None, items=[])
    items = [present_seen_position(each, bots) for each in sight.positions]
    return SeenPositions(seen_at=sight.seen_at, items=items)


@router.get("/reconciliation", responses=problem_responses(401, 404))
def get_reconciliation(account_id: str, farm: FarmDep, owner: OwnerDep) -> ReconciliationOut:
    """How the trade log stands to the broker's book."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        return _reconciliation(session, owner, account_id)


@router.post("/reconciliation", status_code=202, responses=problem_responses(401, 403, 404, 415))
def request_reconciliation(account_id: str, farm: FarmDep, owner: OwnerDep, response: Response) -> ReconciliationOut:
    """Compare the trade log with the broker's book as soon as the terminal is ready."""
    response.headers["Retry-After"] = "5"
    with farm.database.write(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        row = book_rows.reconciliation(session, account_id)
        if row is None:
            row = never_compared(account_id, owner.tenant_id)
            session.add(row)
        row.requested_at = farm.clock.now()
        session.flush()
        return _reconciliation(session, owner, account_id)


@router.get("/differences", responses=_ERRORS)
def list_differences(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    state: DifferenceState | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DifferenceOut]:
    """Differences that were found between the trade log and the broker's book, newest first."""
    keys = decode_cursor(cursor, str, str)
    before = (decode_moment(keys[0]), str(keys[1])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        rows = book_rows.differences(session, owner, account_id, state, before, limit + 1)
    page, last = split_page(rows, limit)
    return Page(
        items=[present_difference(each) for each in page],
        next_cursor=encode_cursor(last.found_at.isoformat(), last.id) if last else None,
    )


def _reconciliation(session: Session, owner: Owner, account_id: str) -> ReconciliationOut:
    row = book_rows.reconciliation(session, account_id) or never_compared(account_id, owner.tenant_id)
    return present_reconciliation(row, book_rows.count_differences(session, owner, account_id))
