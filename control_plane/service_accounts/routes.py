"""HTTP of a tenant's service accounts, for those who give roles."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from control_plane.api_route import ApiRoute
from control_plane.http import CallerDep, FarmDep
from control_plane.identity import key_rows
from control_plane.identity.api_keys import present_key
from control_plane.identity.model import User
from control_plane.identity.schemas import ApiKeyList, MakeApiKey, NewApiKeyOut
from control_plane.identity.state import Role
from control_plane.members.guards import Manager
from control_plane.problems import problem_responses
from control_plane.service_accounts import repository
from control_plane.service_accounts.schemas import (
    DisableServiceAccount,
    MakeServiceAccount,
    ServiceAccountList,
    ServiceAccountOut,
)

router = APIRouter(tags=["service_accounts"], prefix="/service-accounts", route_class=ApiRoute)


@router.get("", responses=problem_responses(401, 403))
def list_service_accounts(farm: FarmDep, manager: Manager) -> ServiceAccountList:
    """Those of one's own tenant, the newest first."""
    with farm.database.read(manager.tenant_id) as session:
        return ServiceAccountList(items=[_present(each) for each in repository.of_tenant(session, manager.tenant_id)])


@router.post("", status_code=201, responses=problem_responses(401, 403, 409, 415, 422))
def make_service_account(
    wish: MakeServiceAccount, farm: FarmDep, manager: Manager, caller: CallerDep
) -> ServiceAccountOut:
    """Make one. It can do nothing until it has a key."""
    with farm.database.write(manager.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        return _present(farm.service_accounts.make(session, manager, wish.name, wish.role))


@router.post("/{service_account_id}/disable", status_code=204, responses=problem_responses(401, 403, 404, 415, 422))
def disable_service_account(
    service_account_id: str, wish: DisableServiceAccount, farm: FarmDep, manager: Manager, caller: CallerDep
) -> None:
    """All its keys end at once, and it gets no more."""
    with farm.database.write(manager.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        farm.service_accounts.disable(session, manager, service_account_id, wish.reason)


@router.get("/{service_account_id}/keys", responses=problem_responses(401, 403, 404))
def list_service_keys(service_account_id: str, farm: FarmDep, manager: Manager) -> ApiKeyList:
    """Its keys, the newest first; never their secrets."""
    with farm.database.read(manager.tenant_id) as session:
        user = farm.service_accounts.require(session, manager, service_account_id, hold=False)
        return ApiKeyList(items=[present_key(row) for row in key_rows.of_user(session, user.id)])


@router.post("/{service_account_id}/keys", status_code=201, responses=problem_responses(401, 403, 404, 409, 415, 422))
def make_service_key(
    service_account_id: str, wish: MakeApiKey, farm: FarmDep, manager: Manager, caller: CallerDep
) -> NewApiKeyOut:
    """Make a key for it, to be sent as `Authorization: Bearer KEY`. It is shown this once."""
    lasts = None if wish.expires_in_days is None else timedelta(days=wish.expires_in_days)
    with farm.database.write(manager.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        made = farm.service_accounts.make_key(session, manager, service_account_id, wish.name, set(wish.scopes), lasts)
    return NewApiKeyOut(**present_key(made.row).model_dump(), key=made.text)


@router.delete("/{service_account_id}/keys/{key_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_service_key(service_account_id: str, key_id: str, farm: FarmDep, manager: Manager) -> None:
    """The key works no more, at once."""
    with farm.database.write(manager.tenant_id) as session:
        farm.service_accounts.revoke_key(session, manager, service_account_id, key_id)


def _present(user: User) -> ServiceAccountOut:
    return ServiceAccountOut(
        id=user.id,
        name=user.display_name,
        role=Role(user.role),
        created_at=user.created_at,
        disabled_at=user.disabled_at,
    )
