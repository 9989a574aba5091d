"""HTTP of a user's own passkeys, and of signing in with one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Response

from control_plane.api_route import ApiRoute
from control_plane.audit.service import Deed
from control_plane.http import BrowserDep, CallerDep, FarmDep
from control_plane.identity import passkey_rows, repository
from control_plane.identity.cookies import CEREMONY_COOKIE, keep_ceremony, keep_session
from control_plane.identity.model import Passkey
from control_plane.identity.passkey_schemas import (
    AddPasskey,
    NewPasskeyOut,
    PasskeyList,
    PasskeyOptionsOut,
    PasskeyOut,
    RenamePasskey,
    SignInWithPasskey,
)
from control_plane.identity.passkeys import holder_of
from control_plane.identity.presentation import present_user
from control_plane.identity.remaining_factors import require_enough_left
from control_plane.identity.schemas import UserOut
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"], prefix="/auth/passkeys", route_class=ApiRoute)
CeremonyCookie = Annotated[str | None, Cookie(alias=CEREMONY_COOKIE, include_in_schema=False)]


@router.get("", responses=problem_responses(401, 403))
def list_passkeys(farm: FarmDep, caller: CallerDep) -> PasskeyList:
    """Your passkeys, the oldest first."""
    with farm.database.read(caller.user.tenant_id) as session:
        return PasskeyList(items=[_present(row) for row in passkey_rows.of_user(session, caller.user.id)])


@router.post("/registration-options", responses=problem_responses(401, 403, 409))
def begin_passkey(farm: FarmDep, caller: CallerDep) -> PasskeyOptionsOut:
    """What the browser needs to make a passkey. The challenge in it is good for five minutes and one answer."""
    with farm.database.read(caller.user.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
    return PasskeyOptionsOut(options=farm.passkeys.begin_adding(caller))


@router.post("", status_code=201, responses=problem_responses(400, 401, 403, 409, 415, 422))
def add_passkey(wish: AddPasskey, farm: FarmDep, caller: CallerDep) -> NewPasskeyOut:
    """Add the passkey that the browser has made. The first second factor ends all other sessions."""
    with farm.database.read(caller.user.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
    passkey = farm.passkeys.read_new(caller, wish.name, wish.credential.as_answer())
    codes = None
    with farm.database.write(caller.user.tenant_id) as session:
        first = not farm.second_factors.is_enrolled(session, caller.user.id)
        farm.passkeys.add(session, caller.user, passkey)
        if caller.session is not None:
            repository.prove_session(session, caller.session.id, farm.clock.now(), second_factor=True)
        if first:
            codes = farm.second_factors.renew_recovery_codes(session, caller.user)
            repository.delete_sessions_of(session, caller.user.id, keep=caller.session.id if caller.session else None)
    return NewPasskeyOut(**_present(passkey).model_dump(), recovery_codes=codes)


@router.put("/{passkey_id}", responses=problem_responses(401, 403, 404, 415, 422))
def rename_passkey(passkey_id: str, wish: RenamePasskey, farm: FarmDep, caller: CallerDep) -> PasskeyOut:
    """Give it another name."""
    with farm.database.write(caller.user.tenant_id) as session:
        row = farm.passkeys.rename(session, caller.user, passkey_id, wish.name)
        deed = Deed(caller.user.email, "rename_passkey", passkey_id, "", after={"name": wish.name})
        farm.audit.record(session, caller.user.tenant_id, deed)
        return _present(row)


@router.delete("/{passkey_id}", status_code=204, responses=problem_responses(401, 403, 404, 409))
def remove_passkey(passkey_id: str, farm: FarmDep, caller: CallerDep) -> None:
    """It signs in no more. Refused where a role or a live account needs it and nothing else is left."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        farm.passkeys.remove(session, caller.user, passkey_id)
        require_enough_left(farm, session, caller.user)
        farm.second_factors.tidy(session, caller.user.id)


@router.post("/sign-in-options", responses=problem_responses(403, 409, 429))
def begin_passkey_sign_in(farm: FarmDep, browser: BrowserDep, response: Response) -> PasskeyOptionsOut:
    """What the browser needs to ask for a passkey: alone, or beside a password. The same for everybody."""
    ceremony = farm.passkeys.begin_sign_in(browser.address)
    keep_ceremony(farm, response, ceremony.secret)
    return PasskeyOptionsOut(options=ceremony.options)


@router.post("/sign-in", responses=problem_responses(401, 403, 409, 415, 422))
def sign_in_with_passkey(
    wish: SignInWithPasskey, farm: FarmDep, browser: BrowserDep, response: Response, ceremony: CeremonyCookie = None
) -> UserOut:
    """Open a session with a passkey alone. It counts as both factors."""
    signed_in = farm.identity.sign_in_with_passkey(wish.credential.as_answer(), holder_of(ceremony), browser)
    keep_session(farm, response, signed_in)
    return present_user(farm, signed_in.user)


@router.post("/step-up-options", responses=problem_responses(401, 403, 409))
def begin_passkey_step_up(farm: FarmDep, caller: CallerDep) -> PasskeyOptionsOut:
    """What the browser needs to ask for one of your passkeys, to prove once more that it is you."""
    return PasskeyOptionsOut(options=farm.passkeys.begin_step_up(caller))


def _present(row: Passkey) -> PasskeyOut:
    return PasskeyOut(
        id=row.id,
        name=row.name,
        backed_up=row.backed_up,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        suspended_at=row.suspended_at,
    )
