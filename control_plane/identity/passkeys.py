"""Passkeys: add them, and prove with one who somebody is.

Every ceremony begins with a challenge that the farm keeps (as a hash) for one holder and one purpose, for five minutes
and one answer. An answer that was judged is spent, right or wrong.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session
from webauthn import generate_authentication_options, generate_registration_options
from webauthn.helpers import options_to_json_dict
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from control_plane.audit.service import THE_FARM
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import BadRequestError, ConflictError, NotFoundError
from control_plane.identity import passkey_rows, repository
from control_plane.identity.attempts import Attempts, passkey_lanes
from control_plane.identity.authenticators import (
    Answer,
    Asserted,
    as_user_handle,
    asserted,
    bad_passkey,
    challenge_in,
    credential_bytes,
    registered,
    user_handle_in,
    went_back,
)
from control_plane.identity.model import Passkey, PasskeyChallenge, User, UserSession
from control_plane.identity.notices import Notices
from control_plane.identity.relying_party import RelyingParty
from control_plane.identity.sessions import Caller, secret_hash
from control_plane.identity.state import PasskeyPurpose, SecurityChange
from control_plane.ids import new_id

CHALLENGE_LASTS = timedelta(minutes=5)
MOST_PASSKEYS = 20
_MILLISECONDS = int(CHALLENGE_LASTS.total_seconds()) * 1000
_CHALLENGE_BYTES = 32


@dataclass(frozen=True)
class Ceremony:
    """What a browser that is not signed in needs: the options, and the secret by which it is known again."""

    options: dict[str, Any]
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Proved:
    """Who somebody is, and the passkey that says so."""

    user: User
    passkey_id: str


class Passkeys:
    def __init__(
        self, database: Database, party: RelyingParty | None, attempts: Attempts, notices: Notices, clock: Clock
    ) -> None:
        self._database = database
        self._relying_party = party
        self._attempts = attempts
        self._notices = notices
        self._clock = clock

    @property
    def domain(self) -> str | None:
        """At which host passkeys work; None when they do nowhere."""
        return self._relying_party.domain if self._relying_party else None

    def begin_adding(self, caller: Caller) -> dict[str, Any]:
        """Options for `navigator.credentials.create`. Raises ConflictError when there are too many already."""
        party, user = self._party(), caller.user
        with self._database.read(user.tenant_id) as session:
            present = passkey_rows.of_user(session, user.id)
        if len(present) >= MOST_PASSKEYS:
            raise ConflictError(f"You have {MOST_PASSKEYS} passkeys; remove one first.", code="too_many_passkeys")
        options = generate_registration_options(
            rp_id=party.domain,
            rp_name=party.name,
            user_id=as_user_handle(user.id),
            user_name=user.email,
            user_display_name=user.display_name,
            challenge=self._issue(PasskeyPurpose.REGISTER, holder_of(_session_of(caller))),
            timeout=_MILLISECONDS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_described(present),
        )
        return options_to_json_dict(options)

    def read_new(self, caller: Caller, name: str, answer: Answer) -> Passkey:
        """The row of a new passkey, not added yet. Raises UnauthorisedError `bad_passkey`."""
        challenge = self._spend(PasskeyPurpose.REGISTER, holder_of(_session_of(caller)), answer)
        found = registered(answer, challenge, self._party())
        return Passkey(
            id=new_id("pky"),
            tenant_id=caller.user.tenant_id,
            user_id=caller.user.id,
            name=name,
            credential_id=found.credential_id,
            public_key=found.public_key,
            sign_count=found.sign_count,
            authenticator=found.authenticator,
            backed_up=found.backed_up,
            created_at=self._clock.now(),
        )

    def add(self, session: Session, user: User, passkey: Passkey) -> None:
        """Raises ConflictError for one that is known already, whoever has it."""
        repository.held_user(session, user.id)
        if passkey_rows.count(session, user.id) >= MOST_PASSKEYS or not passkey_rows.insert(session, passkey):
            raise ConflictError("This passkey is in use already, or you have too many.", code="passkey_exists")
        self._notices.changed(session, user, SecurityChange.ADD_PASSKEY, after=_shown(passkey.id, passkey.name))

    def begin_sign_in(self, address: str) -> Ceremony:
        """Options for `navigator.credentials.get`, the same for everybody. Raises TooManyRequestsError."""
        self._party()
        with self._database.write_as_system() as session:
            self._attempts.begin(session, passkey_lanes(address))
        secret = secrets.token_urlsafe(32)
        return Ceremony(self._request(PasskeyPurpose.SIGN_IN, holder_of(secret), []), secret)

    def begin_step_up(self, caller: Caller) -> dict[str, Any]:
        """Options for `navigator.credentials.get` that name the user's own passkeys."""
        self._party()
        with self._database.read(caller.user.tenant_id) as session:
            present = passkey_rows.of_user(session, caller.user.id)
        return self._request(PasskeyPurpose.STEP_UP, holder_of(_session_of(caller)), present)

    def prove(self, purpose: PasskeyPurpose, holder: str, answer: Answer, expected: User | None = None) -> Proved:
        """Whose passkey has answered the holder's challenge. `expected` is who it has to be, if that is known.

        Raises UnauthorisedError `bad_passkey`, the same for all that can be wrong.
        """
        challenge = self._spend(purpose, holder, answer)
        with self._database.read_as_system() as session:
            found = passkey_rows.by_credential(session, str(answer["id"]))
        if found is None:
            raise bad_passkey()
        passkey, user = found
        handle = user_handle_in(answer)
        if handle != user.id if expected is None else handle not in {None, user.id} or expected.id != user.id:
            raise bad_passkey()
        shown = asserted(answer, challenge, self._party(), passkey.public_key)
        with self._database.write(user.tenant_id) as session:
            accepted = self._use(session, user, passkey.id, shown)
        if not accepted:
            raise bad_passkey()
        return Proved(user, passkey.id)

    def forgive(self, session: Session, address: str) -> None:
        """The ceremony that was begun from this address came to a good end."""
        self._attempts.forgive(session, passkey_lanes(address))

    def rename(self, session: Session, user: User, passkey_id: str, name: str) -> Passkey:
        """Raises NotFoundError for a passkey that is not this user's."""
        row = passkey_rows.rename(session, user.id, passkey_id, name)
        if row is None:
            raise _no_passkey()
        return row

    def remove(self, session: Session, user: User, passkey_id: str) -> None:
        """Raises NotFoundError for a passkey that is not this user's."""
        repository.held_user(session, user.id)
        name = passkey_rows.remove(session, user.id, passkey_id)
        if name is None:
            raise _no_passkey()
        self._notices.changed(session, user, SecurityChange.REMOVE_PASSKEY, before=_shown(passkey_id, name))

    def _use(self, session: Session, user: User, passkey_id: str, shown: Asserted) -> bool:
        """Count a use. A counter that went back suspends the passkey for good: one of the two is a thief's."""
        row = passkey_rows.held(session, passkey_id)
        if row is None or row.suspended_at is not None:
            return False
        now = self._clock.now()
        if went_back(row.sign_count, shown.sign_count):
            row.suspended_at = now
            counts: dict[str, object] = {**_shown(row.id, row.name), "kept": row.sign_count, "shown": shown.sign_count}
            self._notices.changed(session, user, SecurityChange.SUSPEND_PASSKEY, by=THE_FARM, after=counts)
            return False
        row.sign_count, row.backed_up, row.last_used_at = shown.sign_count, shown.backed_up, now
        return True

    def _request(self, purpose: PasskeyPurpose, holder: str, passkeys: list[Passkey]) -> dict[str, Any]:
        options = generate_authentication_options(
            rp_id=self._party().domain,
            challenge=self._issue(purpose, holder),
            timeout=_MILLISECONDS,
            allow_credentials=_described(passkeys),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def _issue(self, purpose: PasskeyPurpose, holder: str) -> bytes:
        """A challenge; the one that the holder had for the same is of no use any more."""
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        until: datetime = self._clock.now() + CHALLENGE_LASTS
        with self._database.write_as_system() as session:
            passkey_rows.forget_challenges(session, purpose, holder)
            row = PasskeyChallenge(challenge_hash=_hash(challenge), purpose=purpose, holder=holder, expires_at=until)
            session.add(row)
        return challenge

    def _spend(self, purpose: PasskeyPurpose, holder: str, answer: Answer) -> bytes:
        """The challenge that an answer is to. Raises UnauthorisedError when it was not this holder's for this."""
        self._party()
        challenge = challenge_in(answer)
        with self._database.write_as_system() as session:
            known = passkey_rows.take_challenge(session, _hash(challenge), purpose, holder, self._clock.now())
        if not known:
            raise bad_passkey()
        return challenge

    def _party(self) -> RelyingParty:
        """Raises ConflictError."""
        if self._relying_party is None:
            raise ConflictError(
                "Passkeys need a portal with a host name: set MT5FARM_PUBLIC_URL to one.", code="passkeys_off"
            )
        return self._relying_party


def holder_of(whose: UserSession | str | None) -> str:
    """As challenges name it: a session, or a browser by the secret that it was given; nobody is nobody's holder."""
    if isinstance(whose, UserSession):
        return f"session|{whose.id}"
    return "" if whose is None else f"browser|{secret_hash(whose)}"


def _session_of(caller: Caller) -> UserSession:
    """Raises BadRequestError for a key."""
    if caller.session is None:
        raise BadRequestError("Keys for programs have no passkeys.", code="no_session")
    return caller.session


def _described(passkeys: list[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=credential_bytes(each.credential_id)) for each in passkeys]


def _shown(passkey_id: str, name: str) -> dict[str, object]:
    """For the audit trail."""
    return {"id": passkey_id, "name": name}


def _hash(challenge: bytes) -> str:
    return hashlib.sha256(challenge).hexdigest()


def _no_passkey() -> NotFoundError:
    return NotFoundError("There is no such passkey.", code="passkey_not_found")
