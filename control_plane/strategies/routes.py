"""HTTP of the strategies that users bring."""

from __future__ import annotations

from fastapi import APIRouter

from control_plane.api_route import ApiRoute
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, split_page
from control_plane.problems import problem_responses
from control_plane.strategies import repository
from control_plane.strategies.schemas import CustomStrategyOut, UploadStrategy, UploadVersion
from control_plane.strategies.service import present_strategies, require_strategy

router = APIRouter(tags=["bots"], route_class=ApiRoute)


@router.get("/custom-strategies", responses=problem_responses(401, 422))
def list_custom_strategies(
    farm: FarmDep, owner: OwnerDep, cursor: Cursor = None, limit: Limit = 100
) -> Page[CustomStrategyOut]:
    """The strategies that you have uploaded, with their versions and the bots that run them."""
    keys = decode_cursor(cursor, str)
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.strategies(session, owner, keys[0] if keys else None, limit + 1)
        page, last = split_page(rows, limit)
        shown = present_strategies(session, owner.tenant_id, page)
    return Page(items=shown, next_cursor=encode_cursor(last.id) if last else None)


@router.post("/custom-strategies", status_code=201, responses=problem_responses(401, 403, 409, 413, 415, 422, 503))
def upload_strategy(wish: UploadStrategy, farm: FarmDep, owner: OwnerDep) -> CustomStrategyOut:
    """A strategy of your own: a subclass of `Strategy`, or a script that imports MetaTrader5.

    It is checked and imported in a sandbox before it is kept, which takes some seconds. An error names the line.
    """
    checked = farm.strategies.check(wish)
    with farm.database.write(owner.tenant_id) as session:
        strategy_id = farm.strategies.create(session, owner, wish.name, checked, wish.notes)
    return _present(farm, owner, strategy_id)


@router.get("/custom-strategies/{strategy_id}", responses=problem_responses(401, 404))
def get_custom_strategy(strategy_id: str, farm: FarmDep, owner: OwnerDep) -> CustomStrategyOut:
    return _present(farm, owner, strategy_id)


@router.post(
    "/custom-strategies/{strategy_id}/versions",
    status_code=201,
    responses=problem_responses(401, 403, 404, 409, 413, 415, 422, 503),
)
def upload_version(strategy_id: str, wish: UploadVersion, farm: FarmDep, owner: OwnerDep) -> CustomStrategyOut:
    """A new version. Bots go on with the one that they are set to until they are changed."""
    with farm.database.read(owner.tenant_id) as session:
        require_strategy(session, owner, strategy_id)
    checked = farm.strategies.check(wish)
    with farm.database.write(owner.tenant_id) as session:
        farm.strategies.add_version(session, owner, strategy_id, checked, wish.notes)
    return _present(farm, owner, strategy_id)


@router.delete("/custom-strategies/{strategy_id}", status_code=204, responses=problem_responses(401, 403, 404, 409))
def delete_custom_strategy(strategy_id: str, farm: FarmDep, owner: OwnerDep) -> None:
    """Delete a strategy with all its versions. Not while a bot is set to it."""
    with farm.database.write(owner.tenant_id) as session:
        farm.strategies.delete(session, owner, strategy_id)


def _present(farm: FarmDep, owner: Owner, strategy_id: str) -> CustomStrategyOut:
    with farm.database.read(owner.tenant_id) as session:
        return present_strategies(session, owner.tenant_id, [require_strategy(session, owner, strategy_id)])[0]
