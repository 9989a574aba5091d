"""Second factors: an authenticator app and its codes, recovery codes, passkeys; who needs one, and how fresh."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.errors import ConflictError, ForbiddenError, UnauthorisedError
from control_plane.identity import factor_rows, passkey_rows, repository, totp
from control_plane.identity.authenticators import Answer
from control_plane.identity.model import RecoveryCode, TotpDevice, User
from control_plane.identity.sessions import Caller
from control_plane.identity.state import PROOF_LASTS, UserKind, needs_second_factor
from control_plane.ids import new_id
from control_plane.vault.repository import SealedColumn
from control_plane.vault.service import Sealed, Vault, tenant_place


@dataclass(frozen=True)
class Enrolment:
    """What an authenticator app needs; shown once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True)
class Shown:
    """What somebody shows as their second factor."""

    code: str | None = field(default=None, repr=False)
    passkey: Answer | None = field(default=None, repr=False)
    """Answers a challenge of a sign-in."""
    holder: str = ""
    """To whom that challenge was given."""


NOTHING = Shown()


class SecondFactors:
    def __init__(self, vault: Vault, farm_name: str, clock: Clock) -> None:
        self._vault = vault
        self._farm_name = farm_name
        self._clock = clock

    def is_enrolled(self, session: Session, user_id: str) -> bool:
        """Whether something is asked for beside the password: an app or a passkey."""
        return factor_rows.confirmed_totp(session, user_id) is not None or passkey_rows.count(session, user_id) > 0

    def begin(self, session: Session, user: User) -> Enrolment:
        """Make a secret that proves nothing until a code of it is shown. A confirmed one goes on working until then."""
        repository.held_user(session, user.id)
        factor_rows.delete_totp(session, user.id, confirmed=False)
        secret = totp.new_secret()
        device_id = new_id("otp")
        sealed = self._vault.seal_for_tenant(session, user.tenant_id, _place(device_id), secret.encode())
        session.add(
            TotpDevice(
                id=device_id,
                tenant_id=user.tenant_id,
                user_id=user.id,
                key_version=sealed.key_version,
                sealed_secret=sealed.content,
                last_step=0,
                created_at=self._clock.now(),
            )
        )
        return Enrolment(secret, totp.enrolment_uri(secret, user.email, self._farm_name))

    def confirm(self, session: Session, user: User, code: str) -> list[str] | None:
        """The recovery codes, to be shown once; None when the code is wrong. Raises ConflictError without a `begin`."""
        repository.held_user(session, user.id)
        device = factor_rows.held_totp(session, user.id, confirmed=False)
        if device is None:
            raise ConflictError("Start with a new picture for your authenticator app.", code="no_enrolment")
        if not self._matches(session, device, code):
            return None
        factor_rows.delete_totp(session, user.id, confirmed=True)
        device.confirmed_at = self._clock.now()
        session.flush()
        return self.renew_recovery_codes(session, user)

    def check(self, session: Session, user_id: str, code: str) -> bool:
        """Whether a code of the app, or a recovery code, is right. Each is right once."""
        device = factor_rows.held_totp(session, user_id, confirmed=True)
        given = code.strip()
        if device is not None and self._matches(session, device, given.replace(" ", "")):
            return True
        return factor_rows.use_recovery_code(session, user_id, totp.recovery_hash(given), self._clock.now())

    def renew_recovery_codes(self, session: Session, user: User) -> list[str]:
        """New ones, to be shown once; those before end."""
        factor_rows.delete_recovery_codes(session, user.id)
        codes = totp.new_recovery_codes()
        for code in codes:
            session.add(
                RecoveryCode(
                    id=new_id("rec"), tenant_id=user.tenant_id, user_id=user.id, code_hash=totp.recovery_hash(code)
                )
            )
        return codes

    def remove_app(self, session: Session, user_id: str) -> None:
        """Passkeys stay."""
        repository.held_user(session, user_id)
        factor_rows.delete_totp(session, user_id, confirmed=False)
        factor_rows.delete_totp(session, user_id, confirmed=True)
        self.tidy(session, user_id)

    def remove_all(self, session: Session, user_id: str) -> None:
        """App, passkeys and recovery codes."""
        passkey_rows.remove_all(session, user_id)
        self.remove_app(session, user_id)

    def tidy(self, session: Session, user_id: str) -> None:
        """Recovery codes stand in for a second factor; without one they are of no use."""
        if not self.is_enrolled(session, user_id):
            factor_rows.delete_recovery_codes(session, user_id)

    def require_role_proof(self, session: Session, caller: Caller) -> None:
        """Roles of staff do nothing without a second factor. Raises ForbiddenError.

        A service account has none; its keys were made by staff who had just shown theirs.
        """
        if needs_role_proof(caller):
            self._require_enrolled(session, caller.user.id)
            if caller.session is not None and caller.session.second_factor_at is None:
                raise _step_up()

    def require_fresh_proof(self, session: Session, caller: Caller) -> None:
        """For what an unattended browser must not do. A key was made by somebody who had just proved who they are.

        Raises ForbiddenError `step_up_required`.
        """
        if caller.session is None:
            return
        too_old = self._clock.now() - caller.session.proved_at >= PROOF_LASTS
        weaker = caller.session.second_factor_at is None and self.is_enrolled(session, caller.user.id)
        if too_old or weaker:
            raise _step_up()

    def require_strong_proof(self, session: Session, caller: Caller) -> None:
        """The same, and never without a second factor. Raises ForbiddenError."""
        if caller.user.kind == UserKind.PERSON:
            self._require_enrolled(session, caller.user.id)
        self.require_fresh_proof(session, caller)

    def _require_enrolled(self, session: Session, user_id: str) -> None:
        if not self.is_enrolled(session, user_id):
            raise ForbiddenError(
                "This needs a second factor. Add a passkey or an authenticator app in the settings first.",
                code="second_factor_required",
            )

    def _matches(self, session: Session, device: TotpDevice, code: str) -> bool:
        sealed = Sealed(device.key_version, device.sealed_secret)
        secret = self._vault.unseal_for_tenant(session, device.tenant_id, _place(device.id), sealed).decode()
        step = totp.matching_step(secret, code, self._clock.now(), device.last_step)
        return step is not None and factor_rows.use_step(session, device.id, step)


def wrong_code() -> UnauthorisedError:
    return UnauthorisedError("The code is wrong or was used before.", code="bad_code")


def needs_role_proof(caller: Caller) -> bool:
    """Whether this caller's role does nothing without a second factor; a service account has none."""
    return caller.user.kind == UserKind.PERSON and needs_second_factor(caller.user.role)


def _step_up() -> ForbiddenError:
    return ForbiddenError("Please prove once more that it is you.", code="step_up_required")


def _place(device_id: str) -> str:
    return f"totp_devices.sealed_secret|{device_id}"


TOTP_SECRETS = SealedColumn(
    TotpDevice,
    TotpDevice.id,
    "sealed_secret",
    lambda row, key_version: tenant_place(row.tenant_id, _place(row.id), key_version),
)
"""For the rotation of data keys."""
