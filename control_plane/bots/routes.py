"""HTTP of strategies and bots."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.api_route import ApiRoute
from control_plane.bots import repository
from control_plane.bots.repository import BotFilter
from control_plane.bots.schemas import (
    BotChangeOut,
    BotLogLineOut,
    BotOut,
    CreateBot,
    LogLevel,
    PaperDealOut,
    StrategyList,
    UpdateBot,
)
from control_plane.bots.service import bot_tag, present_bots, present_paper_deal, require_bot, require_seen
from control_plane.bots.state import BotIntent
from control_plane.bots.strategies import list_strategies as known_strategies
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.paging import Cursor, Limit, Page, decode_cursor, decode_moment, encode_cursor, split_page
from control_plane.preconditions import TAGGED, IfMatch
from control_plane.problems import problem_responses

router = APIRouter(tags=["bots"], route_class=ApiRoute)


@router.get("/strategies", responses=problem_responses(401))
def list_strategies(_owner: OwnerDep) -> StrategyList:
    """The strategies a bot can run, with what can be set of each."""
    return StrategyList(items=known_strategies())


@router.get("/bots", responses=problem_responses(401, 422))
def list_bots(
    farm: FarmDep,
    owner: OwnerDep,
    account_id: Annotated[str | None, Query(max_length=40)] = None,
    intent: BotIntent | None = None,
    strategy: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[BotOut]:
    keys = decode_cursor(cursor, str)
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.views(
            session, owner, BotFilter(account_id, intent, strategy), keys[0] if keys else None, limit + 1
        )
        page, last = split_page(rows, limit)
        shown = present_bots(session, owner.tenant_id, page, farm.clock.now())
    return Page(items=shown, next_cursor=encode_cursor(last.bot.id) if last else None)


@router.post("/bots", status_code=201, responses=problem_responses(401, 403, 404, 415, 422))
def create_bot(wish: CreateBot, farm: FarmDep, owner: OwnerDep) -> BotOut:
    """A new bot, not started yet."""
    with farm.database.write(owner.tenant_id) as session:
        bot_id = farm.bots.create(session, owner, wish)
    return _present(farm, owner, bot_id)


@router.get("/bots/{bot_id}", responses={**problem_responses(401, 404), **TAGGED})
def get_bot(bot_id: str, farm: FarmDep, owner: OwnerDep, response: Response) -> BotOut:
    with farm.database.read(owner.tenant_id) as session:
        view = require_bot(session, owner, bot_id)
        response.headers["ETag"] = bot_tag(view.bot)
        return present_bots(session, owner.tenant_id, [view], farm.clock.now())[0]


@router.post("/bots/{bot_id}/start", status_code=202, responses=problem_responses(401, 403, 404))
def start_bot(bot_id: str, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None) -> BotOut:
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, bot_id, if_match)
        farm.bots.start(session, owner, bot_id)
    response.headers["Retry-After"] = "1"
    return _present(farm, owner, bot_id)


@router.post("/bots/{bot_id}/stop", status_code=202, responses=problem_responses(401, 403, 404))
def stop_bot(bot_id: str, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None) -> BotOut:
    """Stop the bot. Its positions stay as they are."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, bot_id, if_match)
        farm.bots.stop(session, owner, bot_id)
    response.headers["Retry-After"] = "1"
    return _present(farm, owner, bot_id)


@router.post("/bots/{bot_id}/pause", status_code=202, responses=problem_responses(401, 403, 404, 409))
def pause_bot(bot_id: str, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None) -> BotOut:
    """The bot keeps running and may close what it holds, but opens nothing. Start lets it open again."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, bot_id, if_match)
        farm.bots.pause(session, owner, bot_id)
    response.headers["Retry-After"] = "1"
    return _present(farm, owner, bot_id)


@router.post("/bots/{bot_id}/finish", status_code=202, responses=problem_responses(401, 403, 404, 409))
def finish_bot(bot_id: str, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None) -> BotOut:
    """The bot opens nothing more and is stopped as soon as what it has opened is closed."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, bot_id, if_match)
        farm.bots.finish(session, owner, bot_id)
    response.headers["Retry-After"] = "1"
    return _present(farm, owner, bot_id)


@router.patch("/bots/{bot_id}", responses=problem_responses(401, 403, 404, 415, 422))
def change_bot(bot_id: str, wish: UpdateBot, farm: FarmDep, owner: OwnerDep, if_match: IfMatch = None) -> BotOut:
    """Change a bot's settings. One that runs is started anew with them, and keeps its positions and its state."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, bot_id, if_match)
        farm.bots.change(session, owner, bot_id, wish)
    return _present(farm, owner, bot_id)


@router.get("/bots/{bot_id}/changes", responses=problem_responses(401, 404, 422))
def list_bot_changes(
    bot_id: str, farm: FarmDep, owner: OwnerDep, cursor: Cursor = None, limit: Limit = 100
) -> Page[BotChangeOut]:
    """Who changed what of its settings, newest first."""
    keys = decode_cursor(cursor, str)
    with farm.database.read(owner.tenant_id) as session:
        require_bot(session, owner, bot_id)
        rows = repository.changes(session, owner.tenant_id, bot_id, keys[0] if keys else None, limit + 1)
    page, last = split_page(rows, limit)
    return Page(
        items=[BotChangeOut.model_validate(row, from_attributes=True) for row in page],
        next_cursor=encode_cursor(last.id) if last else None,
    )


@router.post("/bots/{bot_id}/changes/{change_id}/revert", responses=problem_responses(401, 403, 404, 422))
def revert_bot_change(bot_id: str, change_id: str, farm: FarmDep, owner: OwnerDep, if_match: IfMatch = None) -> BotOut:
    """Back to the settings that the bot had before this change."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, bot_id, if_match)
        farm.bots.restore(session, owner, bot_id, change_id)
    return _present(farm, owner, bot_id)


@router.delete("/bots/{bot_id}", status_code=204, responses=problem_responses(401, 403, 404, 409))
def delete_bot(bot_id: str, farm: FarmDep, owner: OwnerDep, if_match: IfMatch = None) -> None:
    """Delete a stopped bot. Its deals stay in the trade log."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, bot_id, if_match)
        farm.bots.delete(session, owner, bot_id)


@router.get("/bots/{bot_id}/paper-deals", responses=problem_responses(401, 404, 422))
def list_paper_deals(
    bot_id: str, farm: FarmDep, owner: OwnerDep, cursor: Cursor = None, limit: Limit = 100
) -> Page[PaperDealOut]:
    """What the bot has filled on paper, newest first, each with what all had brought up to it."""
    keys = decode_cursor(cursor, str, str)
    before: tuple[datetime, str] | None = (decode_moment(keys[0]), str(keys[1])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        require_bot(session, owner, bot_id)
        rows = repository.paper_deals(session, owner.tenant_id, bot_id, before, limit + 1)
    page, last = split_page(rows, limit)
    return Page(
        items=[present_paper_deal(deal, total) for deal, total in page],
        next_cursor=encode_cursor(last[0].at.isoformat(), last[0].id) if last else None,
    )


@router.get("/bots/{bot_id}/log", responses=problem_responses(401, 404, 422))
def list_bot_log(
    bot_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    level: LogLevel | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[BotLogLineOut]:
    """What the bot logged, newest first."""
    keys = decode_cursor(cursor, str, str)
    before: tuple[datetime, str] | None = (decode_moment(keys[0]), str(keys[1])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        require_bot(session, owner, bot_id)
        rows = repository.log_lines(session, owner.tenant_id, bot_id, level, before, limit + 1)
    page, last = split_page(rows, limit)
    return Page(
        items=[BotLogLineOut.model_validate(row, from_attributes=True) for row in page],
        next_cursor=encode_cursor(last.at.isoformat(), last.id) if last else None,
    )


def _present(farm: FarmDep, owner: Owner, bot_id: str) -> BotOut:
    with farm.database.read(owner.tenant_id) as session:
        view = require_bot(session, owner, bot_id)
        return present_bots(session, owner.tenant_id, [view], farm.clock.now())[0]
