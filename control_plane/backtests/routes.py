"""HTTP of backtests."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.api_route import ApiRoute
from control_plane.backtests import repository
from control_plane.backtests.schemas import BacktestOut, BacktestReportOut, CreateBacktest
from control_plane.backtests.service import present, require_backtest
from control_plane.errors import NotFoundError
from control_plane.http import FarmDep, OwnerDep
from control_plane.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, split_page
from control_plane.problems import problem_responses

router = APIRouter(tags=["backtests"], route_class=ApiRoute)


@router.get("/backtests", responses=problem_responses(401, 422))
def list_backtests(
    farm: FarmDep,
    owner: OwnerDep,
    account_id: Annotated[str | None, Query(max_length=40)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[BacktestOut]:
    """Newest first."""
    keys = decode_cursor(cursor, str)
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.listed(session, owner, account_id, keys[0] if keys else None, limit + 1)
        page, last = split_page(rows, limit)
        shown = [present(row) for row in page]
    return Page(items=shown, next_cursor=encode_cursor(last.id) if last else None)


@router.post("/backtests", status_code=202, responses=problem_responses(401, 403, 404, 415, 422, 429))
def create_backtest(wish: CreateBacktest, farm: FarmDep, owner: OwnerDep, response: Response) -> BacktestOut:
    """Test a strategy on the newest bars of the account's own terminal, or search its parameters there."""
    with farm.database.write(owner.tenant_id) as session:
        shown = present(farm.backtests.create(session, owner, wish))
    response.headers["Retry-After"] = "1"
    return shown


@router.get("/backtests/{backtest_id}", responses=problem_responses(401, 404))
def get_backtest(backtest_id: str, farm: FarmDep, owner: OwnerDep) -> BacktestOut:
    with farm.database.read(owner.tenant_id) as session:
        return present(require_backtest(session, owner, backtest_id))


@router.get("/backtests/{backtest_id}/report", responses=problem_responses(401, 404))
def get_backtest_report(backtest_id: str, farm: FarmDep, owner: OwnerDep) -> BacktestReportOut:
    """Everything that came of a backtest that is done."""
    with farm.database.read(owner.tenant_id) as session:
        require_backtest(session, owner, backtest_id)
        found = repository.report(session, owner, backtest_id)
        if found is None:
            raise NotFoundError("The backtest has no report yet.", code="no_report")
        return BacktestReportOut(id=backtest_id, content=found.content)


@router.post("/backtests/{backtest_id}/cancel", status_code=202, responses=problem_responses(401, 403, 404))
def cancel_backtest(backtest_id: str, farm: FarmDep, owner: OwnerDep) -> BacktestOut:
    """Call a backtest off. One that has ended stays as it is."""
    with farm.database.write(owner.tenant_id) as session:
        return present(farm.backtests.cancel(session, owner, backtest_id))


@router.delete("/backtests/{backtest_id}", status_code=204, responses=problem_responses(401, 403, 404, 409))
def delete_backtest(backtest_id: str, farm: FarmDep, owner: OwnerDep) -> None:
    """Delete a backtest that has ended, with its report."""
    with farm.database.write(owner.tenant_id) as session:
        farm.backtests.delete(session, owner, backtest_id)
