"""HTTP of statistics and of the calendar of results."""

from __future__ import annotations

import calendar as month_lengths
from datetime import date
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.service import require_account
from control_plane.api_route import ApiRoute
from control_plane.bots import repository as bots_repository
from control_plane.errors import invalid_field
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.problems import problem_responses
from control_plane.trading import book_rows
from control_plane.trading.statistics.curve import EquityAt
from control_plane.trading.statistics.report import Report, Selection, calendar, report
from control_plane.trading.statistics_presentation import present_days, present_report
from control_plane.trading.statistics_schemas import CalendarOut, StatisticsOut

router = APIRouter(tags=["trading"], route_class=ApiRoute, prefix="/accounts/{account_id}")
Symbol = Annotated[str | None, Query(min_length=1, max_length=32)]
Magic = Annotated[int | None, Query(ge=-(2**63), lt=2**63, description="Magic number of who opened the trades.")]
BotId = Annotated[str | None, Query(max_length=40, description="Trades of this bot; in place of its magic number.")]
Day = Annotated[date | None, Query(description="A day of the broker's calendar.")]
Month = Annotated[str, Query(pattern=r"^[12][0-9]{3}-(0[1-9]|1[0-2])$", description="Of the broker's calendar.")]
_ERRORS = problem_responses(401, 404, 422)


async def asked_selection(
    since: Day = None, until: Day = None, symbol: Symbol = None, magic: Magic = None
) -> Selection:
    """Raises InvalidInputError for days in the wrong order."""
    if since is not None and until is not None and until < since:
        raise invalid_field("until", "The last day must not be before the first.")
    return Selection(since, until, symbol, magic)


SelectionDep = Annotated[Selection, Depends(asked_selection)]


@router.get("/statistics", responses=_ERRORS)
def get_statistics(
    account_id: str, farm: FarmDep, owner: OwnerDep, only: SelectionDep, bot_id: BotId = None
) -> StatisticsOut:
    """Key figures, curve and breakdowns of the account's trades. `since` and `until` are days, both included."""
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        only = of_bot(session, owner, account_id, only, bot_id)
        found = read_report(session, account_id, only)
        currency = _currency(session, owner, account_id)
    return present_report(found, currency)


@router.get("/calendar", responses=_ERRORS)
def get_calendar(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    month: Month,
    symbol: Symbol = None,
    magic: Magic = None,
    bot_id: BotId = None,
) -> CalendarOut:
    """Results of each day of a month, by the broker's calendar."""
    year, number = (int(part) for part in month.split("-"))
    last = month_lengths.monthrange(year, number)[1]
    only = Selection(date(year, number, 1), date(year, number, last), symbol, magic)
    with farm.database.read(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        only = of_bot(session, owner, account_id, only, bot_id)
        days = calendar(book_rows.all_facts(session, account_id), only)
        currency = _currency(session, owner, account_id)
    items = present_days(days, whole_account=not only.of_trades_alone)
    return CalendarOut(currency=currency, month=month, items=items)


def of_bot(session: Session, owner: Owner, account_id: str, only: Selection, bot_id: str | None) -> Selection:
    """The selection narrowed to a bot's trades. Raises InvalidInputError for a bot that the account does not have."""
    if bot_id is None:
        return only
    magics = [
        magic
        for magic, each in bots_repository.names_by_magic(session, owner.tenant_id, account_id).items()
        if each == bot_id
    ]
    if not magics:
        raise invalid_field("bot_id", "This account has no such bot.")
    return Selection(only.since, only.until, only.symbol, magics[0])


def read_report(session: Session, account_id: str, only: Selection) -> Report:
    samples = [] if only.of_trades_alone else _samples(session, account_id)
    return report(book_rows.all_facts(session, account_id), samples, only)


def _samples(session: Session, account_id: str) -> list[EquityAt]:
    seen: list[tuple[int, Decimal, Decimal]] = book_rows.equity_samples(session, account_id)
    return [EquityAt(seconds * 1000, balance, equity) for seconds, balance, equity in seen]


def _currency(session: Session, owner: Owner, account_id: str) -> str | None:
    snapshot = accounts_repository.snapshot(session, owner.tenant_id, account_id)
    return None if snapshot is None else snapshot.currency
