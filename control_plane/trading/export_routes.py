"""HTTP of files for spreadsheets: deals, orders of the history, positions as last seen, statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from control_plane.accounts.service import require_account
from control_plane.api_route import ApiRoute
from control_plane.bots import repository as bots_repository
from control_plane.container import Farm
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.paging import Since, Until
from control_plane.problems import problem_responses
from control_plane.trading import book_rows, repository
from control_plane.trading.book_presentation import present_history_order, present_seen_position
from control_plane.trading.book_schemas import HistoryOrderOut, SeenPosition
from control_plane.trading.export import Cell, Separator, csv_rows
from control_plane.trading.presentation import present_deal
from control_plane.trading.schemas import DealOut
from control_plane.trading.statistics.curve import Drawdown, moment_of
from control_plane.trading.statistics.figures import Streak
from control_plane.trading.statistics.report import Report
from control_plane.trading.statistics_routes import BotId, SelectionDep, of_bot, read_report

router = APIRouter(tags=["trading"], route_class=ApiRoute, prefix="/accounts/{account_id}/exports")
Symbol = Annotated[str | None, Query(min_length=1, max_length=32)]
PositionTicket = Annotated[int | None, Query(gt=0, lt=2**63)]
Sign = Annotated[Separator, Query(description="Between cells; `semicolon` where a comma separates decimals.")]
_AT_ONCE = 500
_FILE: dict[int | str, dict[str, Any]] = {
    **problem_responses(401, 404, 422),
    200: {"description": "UTF-8 with a header row.", "content": {"text/csv": {"schema": {"type": "string"}}}},
}
_MONEY = frozenset({"profit", "commission", "swap", "fee"})


@router.get("/deals", response_class=StreamingResponse, responses=_FILE)
def export_deals(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    symbol: Symbol = None,
    position_ticket: PositionTicket = None,
    since: Since = None,
    until: Until = None,
    separator: Sign = Separator.COMMA,
) -> StreamingResponse:
    """All deals of the filter as CSV, newest first."""
    _require(farm, owner, account_id)
    only = repository.DealFilter(symbol, position_ticket, since, until)
    return _file("deals", DealOut, _deals(farm, owner, account_id, only), separator)


@router.get("/history-orders", response_class=StreamingResponse, responses=_FILE)
def export_history_orders(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    symbol: Symbol = None,
    position_ticket: PositionTicket = None,
    separator: Sign = Separator.COMMA,
) -> StreamingResponse:
    """All orders of the history as CSV, newest first."""
    _require(farm, owner, account_id)
    return _file("orders", HistoryOrderOut, _orders(farm, owner, account_id, symbol, position_ticket), separator)


@router.get("/positions", response_class=StreamingResponse, responses=_FILE)
def export_positions(
    account_id: str, farm: FarmDep, owner: OwnerDep, separator: Sign = Separator.COMMA
) -> StreamingResponse:
    """Open positions as last seen, as CSV."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        sight = book_rows.positions(session, account_id)
        bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
    rows = [present_seen_position(each, bots) for each in (sight.positions if sight else [])]
    return _file("positions", SeenPosition, iter(rows), separator)


@router.get("/statistics", response_class=StreamingResponse, responses=_FILE)
def export_statistics(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    only: SelectionDep,
    bot_id: BotId = None,
    separator: Sign = Separator.COMMA,
) -> StreamingResponse:
    """Every figure of the statistics as CSV: group, name, value."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        only = of_bot(session, owner, account_id, only, bot_id)
        found = read_report(session, account_id, only)
    return _answer("statistics", csv_rows(("group", "name", "value"), _figures(found), separator))


def _deals(farm: Farm, owner: Owner, account_id: str, only: repository.DealFilter) -> Iterator[DealOut]:
    """Page by page, so that neither memory nor a transaction grows with the account."""
    before: tuple[int, int] | None = None
    while True:
        with farm.database.read(owner.tenant_id) as session:
            page = repository.deals(session, owner, account_id, only, before, _AT_ONCE)
            corrections = book_rows.corrections(session, account_id, [each.ticket for each in page])
            bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
        yield from (present_deal(each, bots, corrections) for each in page)
        if len(page) < _AT_ONCE:
            return
        before = page[-1].broker_time_msc, page[-1].ticket


def _orders(
    farm: Farm, owner: Owner, account_id: str, symbol: str | None, position: int | None
) -> Iterator[HistoryOrderOut]:
    before: tuple[int, int] | None = None
    while True:
        with farm.database.read(owner.tenant_id) as session:
            page = book_rows.history_orders(session, owner, account_id, symbol, position, before, _AT_ONCE)
            bots = bots_repository.names_by_magic(session, owner.tenant_id, account_id)
        yield from (present_history_order(each, bots) for each in page)
        if len(page) < _AT_ONCE:
            return
        before = page[-1].time_done_msc, page[-1].ticket


def _figures(found: Report) -> Iterator[tuple[Cell, ...]]:
    for group, figures in (("account", found.account), ("trades", found.trades)):
        for each in fields(figures) if figures is not None else ():
            value = getattr(figures, each.name)
            if isinstance(value, Drawdown):
                yield group, each.name, value.depth
                yield group, f"{each.name}_peak", moment_of(value.peak_msc).replace(tzinfo=None)
                yield group, f"{each.name}_trough", moment_of(value.trough_msc).replace(tzinfo=None)
            elif isinstance(value, Streak):
                yield group, each.name, value.length
            else:
                yield group, each.name, value
    for name, rows in found.groups.items():
        for row in rows:
            yield f"net by {name}", row.key, row.net


def _file(
    name: str, shape: type[DealOut | HistoryOrderOut | SeenPosition], rows: Iterator[Any], separator: Separator
) -> StreamingResponse:
    header = list(shape.model_fields)
    return _answer(name, csv_rows(header, (_cells(row, header) for row in rows), separator))


def _cells(row: Any, header: Sequence[str]) -> list[Cell]:
    return [Decimal(value) if name in _MONEY else value for name in header for value in (getattr(row, name),)]


def _answer(name: str, pieces: Iterator[str]) -> StreamingResponse:
    return StreamingResponse(
        pieces,
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _require(farm: Farm, owner: Owner, account_id: str) -> None:
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
