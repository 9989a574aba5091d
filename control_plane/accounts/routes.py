"""HTTP of trading accounts."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from control_plane.accounts import repository
from control_plane.accounts.schemas import (
    AccountOut,
    BrokerLogin,
    ChangeCredentials,
    ConnectAccount,
    ConnectionTestOut,
    MoveAccount,
    SetLeasePolicy,
)
from control_plane.accounts.service import account_tag, present_account, require_account, require_seen, require_view
from control_plane.api_route import ApiRoute
from control_plane.brokers import repository as brokers_repository
from control_plane.brokers.service import is_live
from control_plane.http import CallerDep, FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.identity.sessions import Caller
from control_plane.paging import Cursor, Limit, Page, decode_cursor, decode_moment, encode_cursor, split_page
from control_plane.preconditions import TAGGED, IfMatch
from control_plane.problems import problem_responses
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.history import present_transition, present_uptime
from control_plane.terminals.schemas import TransitionOut, UptimeOut
from control_plane.terminals.state import Intent, TransitionKind

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


@router.post("/connection-tests", status_code=202, responses=problem_responses(401, 403, 409, 415, 422, 429))
def test_connection(
    wish: BrokerLogin, farm: FarmDep, owner: OwnerDep, caller: CallerDep, response: Response
) -> ConnectionTestOut:
    """Have a terminal log in once with these credentials, and forget them. Ask for the result with its id."""
    with farm.database.write(owner.tenant_id) as session:
        _require_proof(farm, session, caller, wish.server)
        test_id = farm.connection_tests.start(session, owner, wish)
    response.headers["Retry-After"] = _RETRY_AFTER
    return get_connection_test(test_id, farm, owner)


@router.get("/connection-tests/{test_id}", responses=problem_responses(401, 404))
def get_connection_test(test_id: str, farm: FarmDep, owner: OwnerDep) -> ConnectionTestOut:
    with farm.database.read(owner.tenant_id) as session:
        return farm.connection_tests.show(session, owner, test_id)


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


@router.post("/accounts/{account_id}/restart", status_code=202, responses=problem_responses(401, 403, 404, 409))
def restart_account(account_id: str, farm: FarmDep, owner: OwnerDep, response: Response) -> AccountOut:
    """End the terminal and start it again, once. Its bots pause for some ten seconds; open positions stay open."""
    with farm.database.write(owner.tenant_id) as session:
        farm.accounts.restart(session, owner, account_id)
    return _accepted(farm, owner, account_id, response)


@router.post("/accounts/{account_id}/move", status_code=202, responses=problem_responses(401, 403, 404, 409, 415, 422))
def move_account(
    account_id: str, wish: MoveAccount, farm: FarmDep, owner: OwnerDep, caller: CallerDep, response: Response
) -> AccountOut:
    """Stop the terminal where it runs and start it on another node. Refused with `not_flat` while the account may have
    positions or orders; with them it needs a fresh proof of who you are.
    """
    with farm.database.write(owner.tenant_id) as session:
        require_account(session, owner, account_id)
        if wish.with_positions:
            farm.second_factors.require_fresh_proof(session, caller)
        farm.accounts.move(session, owner, account_id, with_positions=wish.with_positions)
    return _accepted(farm, owner, account_id, response)


@router.get("/accounts/{account_id}/transitions", responses=problem_responses(401, 404, 422))
def list_transitions(
    account_id: str,
    farm: FarmDep,
    owner: OwnerDep,
    kind: Annotated[list[TransitionKind] | None, Query(description="Only these kinds; all without any.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[TransitionOut]:
    """What was wished of the account's terminal, what became of it and who did it: the newest first, for 90 days."""
    keys = decode_cursor(cursor, str, str)
    before = None if keys is None else (decode_moment(keys[0]), keys[1])
    with farm.database.read(owner.tenant_id) as session:
        terminal = require_view(session, owner, account_id).terminal
        rows = terminals_repository.transitions(
            session, owner.tenant_id, terminal.id, kind or list(TransitionKind), before, limit + 1
        )
    page, last = split_page(rows, limit)
    return Page(
        items=[present_transition(row, node_name) for row, node_name in page],
        next_cursor=encode_cursor(last[0].at.isoformat(), last[0].id) if last else None,
    )


@router.get("/accounts/{account_id}/uptime", responses=problem_responses(401, 404))
def get_uptime(account_id: str, farm: FarmDep, owner: OwnerDep) -> UptimeOut:
    """How much of the last hour, day and week the terminal answered for the account, also within market hours alone."""
    with farm.database.read(owner.tenant_id) as session:
        view = require_view(session, owner, account_id)
        server = brokers_repository.by_name(session, view.account.server)
        return present_uptime(
            session,
            view.terminal,
            view.observation,
            view.assignment,
            server.time_zone if server else "",
            farm.clock.now(),
            timedelta(seconds=farm.settings.lease_seconds),
        )


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
    """Remove the account from the farm for good. Its password is erased once the terminal has stopped, its bots are
    deleted, and nobody is shown its history any more, of which the farm keeps the trade log for its records. Nothing
    changes at the broker: open positions stay open. The same login can be connected anew.
    """
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
