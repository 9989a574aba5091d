"""HTTP of a user's own second factor."""

from __future__ import annotations

from fastapi import APIRouter

from control_plane.accounts import repository as accounts_repository
from control_plane.api_route import ApiRoute
from control_plane.brokers.service import is_live
from control_plane.errors import ConflictError
from control_plane.http import CallerDep, FarmDep
from control_plane.identity import factor_rows, repository
from control_plane.identity.schemas import ConfirmTotp, RecoveryCodesOut, SecondFactorOut, TotpEnrolmentOut
from control_plane.identity.second_factor import wrong_code
from control_plane.identity.service import owner_of
from control_plane.identity.state import needs_second_factor
from control_plane.identity.totp import picture_of
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"], prefix="/auth/second-factor", route_class=ApiRoute)


@router.get("", responses=problem_responses(401, 403))
def get_second_factor(farm: FarmDep, caller: CallerDep) -> SecondFactorOut:
    with farm.database.read(caller.user.tenant_id) as session:
        device = factor_rows.confirmed_totp(session, caller.user.id)
        left = factor_rows.unused_recovery_codes(session, caller.user.id)
    return SecondFactorOut(
        enrolled=device is not None, enrolled_at=device.confirmed_at if device else None, recovery_codes_left=left
    )


@router.post("/totp", status_code=201, responses=problem_responses(401, 403))
def begin_totp(farm: FarmDep, caller: CallerDep) -> TotpEnrolmentOut:
    """Show an authenticator app its secret. It counts once a code of the app was confirmed."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        enrolment = farm.second_factors.begin(session, caller.user)
    return TotpEnrolmentOut(secret=enrolment.secret, uri=enrolment.uri, picture=picture_of(enrolment.uri))


@router.post("/totp/confirm", responses=problem_responses(401, 403, 409, 415, 422))
def confirm_totp(wish: ConfirmTotp, farm: FarmDep, caller: CallerDep) -> RecoveryCodesOut:
    """Ask for a code from now on, and end all other sessions. The recovery codes are shown this once."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        codes = farm.second_factors.confirm(session, caller.user, wish.code.get_secret_value())
        if codes is None:
            raise wrong_code()
        if caller.session is not None:
            repository.prove_session(session, caller.session.id, farm.clock.now(), second_factor=True)
            repository.delete_sessions_of(session, caller.user.id, keep=caller.session.id)
        farm.identity.security_changed(session, caller.user, "enrol_second_factor")
    return RecoveryCodesOut(codes=codes)


@router.post("/recovery-codes", responses=problem_responses(401, 403))
def renew_recovery_codes(farm: FarmDep, caller: CallerDep) -> RecoveryCodesOut:
    """Make new recovery codes, shown this once; the old ones end."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_strong_proof(session, caller)
        codes = farm.second_factors.renew_recovery_codes(session, caller.user)
        farm.identity.security_changed(session, caller.user, "renew_recovery_codes")
    return RecoveryCodesOut(codes=codes)


@router.delete("", status_code=204, responses=problem_responses(401, 403, 409))
def remove_second_factor(farm: FarmDep, caller: CallerDep) -> None:
    """Sign in with the password alone again. Refused to staff, and while a live account is connected."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_strong_proof(session, caller)
        accounts = accounts_repository.all_owned(session, owner_of(caller.user))
        if needs_second_factor(caller.user.role) or any(is_live(session, each.server) for each in accounts):
            raise ConflictError(
                "Your role, or a live account that you have connected, needs the second factor.",
                code="second_factor_needed",
            )
        farm.second_factors.remove(session, caller.user.id)
        farm.identity.security_changed(session, caller.user, "remove_second_factor")
