"""HTTP of trading accounts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from control_plane.accounts import repository
from control_plane.accounts.schemas import AccountOut, ChangeCredentials, ConnectAccount, SetLeasePolicy
from control_plane.accounts.service import account_tag, present_account, require_account, require_seen, require_view
from control_plane.api_route import ApiRoute
from control_plane.brokers.service import is_live
from control_plane.http import CallerDep, FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.identity.sessions import Caller
from control_plane.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, split_page
from control_plane.preconditions import TAGGED, IfMatch
from control_plane.problems import problem_responses
from control_plane.terminals.state import Intent

router = APIRouter(tags=["accounts"], route_class=ApiRoute)
_RETRY_AFTER = "1"


@router.get("/accounts", responses=problem_responses(401, 422))
def list_accounts(
    farm: FarmDep,
    owner: OwnerDep,
    server: Annotated[str | None, Query(max_length=64)] = None,
    intent: Intent | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[AccountOut]:
    keys = decode_cursor(cursor, str)
    with farm.database.read(owner.tenant_id) as session:
        only = repository.AccountFilter(server, intent)
        rows = repository.views(session, owner, keys[0] if keys else None, limit + 1, only)
    page, last = split_page(rows, limit)
    return Page(
        items=[present_account(view, farm.clock.now()) for view in page],
        next_cursor=encode_cursor(last.account.id) if last else None,
    )


@router.post("/accounts", status_code=201, responses=problem_responses(401, 403, 409, 415, 422))
def connect_account(wish: ConnectAccount, farm: FarmDep, owner: OwnerDep, caller: CallerDep) -> AccountOut:
    """Connect an MT5 login; its terminal is started at once. Live accounts need a second factor, freshly proved."""
    with farm.database.write(owner.tenant_id) as session:
        _require_proof(farm, session, caller, wish.server)
        account_id = farm.accounts.connect(session, owner, wish)
    return _present(farm, owner, account_id)


@router.get("/accounts/{account_id}", responses={**problem_responses(401, 404), **TAGGED})
def get_account(account_id: str, farm: FarmDep, owner: OwnerDep, response: Response) -> AccountOut:
    with farm.database.read(owner.tenant_id) as session:
        view = require_view(session, owner, account_id)
        response.headers["ETag"] = account_tag(view.account, view.terminal)
        return present_account(view, farm.clock.now())


@router.put(
    "/accounts/{account_id}/credentials",
    status_code=202,
    responses=problem_responses(401, 403, 404, 409, 415, 422, 429),
)
def change_credentials(
    account_id: str,
    wish: ChangeCredentials,
    farm: FarmDep,
    owner: OwnerDep,
    caller: CallerDep,
    response: Response,
    if_match: IfMatch = None,
) -> AccountOut:
    """Replace the broker password; as with connecting. A terminal that was refused tries again."""
    with farm.database.write(owner.tenant_id) as session:
        _require_proof(farm, session, caller, require_account(session, owner, account_id).server)
        require_seen(session, owner, account_id, if_match)
        farm.accounts.change_password(session, owner, account_id, wish.password.get_secret_value())
    return _accepted(farm, owner, account_id, response)


@router.post("/accounts/{account_id}/deploy", status_code=202, responses=problem_responses(401, 403, 404, 409))
def deploy_account(
    account_id: str, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None
) -> AccountOut:
    """Start the terminal."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, account_id, if_match)
        farm.accounts.deploy(session, owner, account_id)
    return _accepted(farm, owner, account_id, response)


@router.post("/accounts/{account_id}/undeploy", status_code=202, responses=problem_responses(401, 403, 404, 409))
def undeploy_account(
    account_id: str, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None
) -> AccountOut:
    """Stop the terminal. Open positions stay open at the broker."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, account_id, if_match)
        farm.accounts.undeploy(session, owner, account_id)
    return _accepted(farm, owner, account_id, response)


@router.put("/accounts/{account_id}/lease-policy", responses=problem_responses(401, 403, 404, 415, 422))
def set_lease_policy(
    account_id: str, wish: SetLeasePolicy, farm: FarmDep, owner: OwnerDep, if_match: IfMatch = None
) -> AccountOut:
    """What becomes of the terminal when its node loses touch with the farm: it runs on, or stops to start elsewhere."""
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, account_id, if_match)
        farm.accounts.set_lease_policy(session, owner, account_id, wish.policy)
    return _present(farm, owner, account_id)


@router.delete("/accounts/{account_id}", status_code=202, responses=problem_responses(401, 403, 404))
def delete_account(
    account_id: str, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None
) -> AccountOut:
    """Remove the account from the farm and forget its password. Open positions stay open at the broker."""
    shown = _present(farm, owner, account_id)
    with farm.database.write(owner.tenant_id) as session:
        require_seen(session, owner, account_id, if_match)
        farm.accounts.remove(session, owner, account_id)
    response.headers["Retry-After"] = _RETRY_AFTER
    terminal = shown.terminal.model_copy(update={"intent": Intent.DELETED, "explanation": "The account is removed."})
    return shown.model_copy(update={"terminal": terminal})


def _require_proof(farm: FarmDep, session: Session, caller: Caller, server: str) -> None:
    """The password of a simulated account opens nothing of worth."""
    if is_live(session, server):
        farm.second_factors.require_strong_proof(session, caller)


def _present(farm: FarmDep, owner: Owner, account_id: str) -> AccountOut:
    with farm.database.read(owner.tenant_id) as session:
        return present_account(require_view(session, owner, account_id), farm.clock.now())


def _accepted(farm: FarmDep, owner: Owner, account_id: str, response: Response) -> AccountOut:
    response.headers["Retry-After"] = _RETRY_AFTER
    return _present(farm, owner, account_id)
