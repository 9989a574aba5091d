"""HTTP of a user's own second factor."""

from __future__ import annotations

from fastapi import APIRouter

from control_plane.api_route import ApiRoute
from control_plane.http import CallerDep, FarmDep
from control_plane.identity import factor_rows, repository
from control_plane.identity.remaining_factors import require_enough_left
from control_plane.identity.schemas import ConfirmTotp, RecoveryCodesOut, SecondFactorOut, TotpEnrolmentOut
from control_plane.identity.second_factor import wrong_code
from control_plane.identity.state import SecurityChange
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
        farm.notices.changed(session, caller.user, SecurityChange.ENROL_SECOND_FACTOR)
    return RecoveryCodesOut(codes=codes)


@router.post("/recovery-codes", responses=problem_responses(401, 403))
def renew_recovery_codes(farm: FarmDep, caller: CallerDep) -> RecoveryCodesOut:
    """Make new recovery codes, shown this once; the old ones end."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_strong_proof(session, caller)
        codes = farm.second_factors.renew_recovery_codes(session, caller.user)
        farm.notices.changed(session, caller.user, SecurityChange.RENEW_RECOVERY_CODES)
    return RecoveryCodesOut(codes=codes)


@router.delete("", status_code=204, responses=problem_responses(401, 403, 409))
def remove_second_factor(farm: FarmDep, caller: CallerDep) -> None:
    """Ask for no codes of the app any more. Refused where a role or a live account needs it and nothing is left."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.second_factors.require_strong_proof(session, caller)
        farm.second_factors.remove_app(session, caller.user.id)
        require_enough_left(farm, session, caller.user)
        farm.notices.changed(session, caller.user, SecurityChange.REMOVE_SECOND_FACTOR)
