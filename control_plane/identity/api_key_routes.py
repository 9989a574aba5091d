"""HTTP of a user's own keys for programs."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from control_plane.api_route import ApiRoute
from control_plane.audit.service import Deed
from control_plane.http import CallerDep, FarmDep
from control_plane.identity import key_rows
from control_plane.identity.api_keys import present_key
from control_plane.identity.model import ApiKey
from control_plane.identity.schemas import ApiKeyList, MakeApiKey, NewApiKeyOut
from control_plane.identity.state import SecurityChange
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"], prefix="/auth/api-keys", route_class=ApiRoute)


@router.get("", responses=problem_responses(401, 403))
def list_api_keys(farm: FarmDep, caller: CallerDep) -> ApiKeyList:
    """Your keys, the newest first; never their secrets."""
    with farm.database.read(caller.user.tenant_id) as session:
        return ApiKeyList(items=[present_key(row) for row in key_rows.of_user(session, caller.user.id)])


@router.post("", status_code=201, responses=problem_responses(401, 403, 409, 415, 422))
def make_api_key(wish: MakeApiKey, farm: FarmDep, caller: CallerDep) -> NewApiKeyOut:
    """Make a key, to be sent as `Authorization: Bearer KEY`. It is shown this once."""
    lasts = None if wish.expires_in_days is None else timedelta(days=wish.expires_in_days)
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_role_proof(session, caller)
        farm.second_factors.require_fresh_proof(session, caller)
        made = farm.api_keys.make(session, caller.user, wish.name, set(wish.scopes), lasts)
        farm.notices.changed(session, caller.user, SecurityChange.MAKE_API_KEY, after=_facts(made.row))
    return NewApiKeyOut(**present_key(made.row).model_dump(), key=made.text)


@router.delete("/{key_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_api_key(key_id: str, farm: FarmDep, caller: CallerDep) -> None:
    """The key works no more, at once."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.api_keys.revoke(session, caller.user, key_id)
        farm.audit.record(session, caller.user.tenant_id, Deed(caller.user.email, "revoke_api_key", key_id, ""))


def _facts(row: ApiKey) -> dict[str, object]:
    """For the audit trail."""
    return {"id": row.id, "name": row.name, "scopes": row.scopes}
