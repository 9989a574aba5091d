"""Judge what an authenticator answered. Pure: the library `webauthn` reads and verifies, nothing is looked up here."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    parse_attestation_object,
    parse_client_data_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import AttestationFormat

from control_plane.errors import UnauthorisedError
from control_plane.identity.relying_party import RelyingParty

Answer = Mapping[str, Any]
"""A `PublicKeyCredential` as JSON: binary parts in base64url, as `toJSON()` of a browser gives it."""
_UNREADABLE = (
    WebAuthnException,
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What the library lets through when an answer is not what it says it is."""


@dataclass(frozen=True)
class Registered:
    credential_id: str
    public_key: bytes
    sign_count: int
    authenticator: str
    """AAGUID: the make of the authenticator; zeros when it does not say."""
    backed_up: bool
    """Whether the passkey is kept in more than one device."""


@dataclass(frozen=True)
class Asserted:
    sign_count: int
    backed_up: bool


def challenge_in(answer: Answer) -> bytes:
    """The challenge that it claims to answer. Raises UnauthorisedError `bad_passkey`."""
    with _readable():
        return parse_client_data_json(base64url_to_bytes(answer["response"]["clientDataJSON"])).challenge


def registered(answer: Answer, challenge: bytes, party: RelyingParty) -> Registered:
    """A new passkey, whose user was verified. Raises UnauthorisedError `bad_passkey`.

    Who made the authenticator is not asked for, so that no certificate of a stranger is ever read.
    """
    with _readable():
        attestation = parse_attestation_object(base64url_to_bytes(answer["response"]["attestationObject"]))
        if attestation.fmt not in {AttestationFormat.NONE, AttestationFormat.PACKED} or attestation.att_stmt.x5c:
            raise bad_passkey()
        verified = verify_registration_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=party.domain,
            expected_origin=list(party.origins),
            require_user_verification=True,
        )
    return Registered(
        credential_id=bytes_to_base64url(verified.credential_id),
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        authenticator=verified.aaguid,
        backed_up=verified.credential_backed_up,
    )


def asserted(answer: Answer, challenge: bytes, party: RelyingParty, public_key: bytes) -> Asserted:
    """A signature of a known passkey, whose user was verified. Raises UnauthorisedError `bad_passkey`.

    The counter is the caller's to compare, once the signature is known to be right: a stranger could otherwise make
    somebody's passkey look copied.
    """
    with _readable():
        verified = verify_authentication_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=party.domain,
            expected_origin=list(party.origins),
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    return Asserted(verified.new_sign_count, verified.credential_backed_up)


def user_handle_in(answer: Answer) -> str | None:
    """Whose passkey the authenticator says it is; None when it says nothing. Raises UnauthorisedError."""
    handle = answer["response"].get("userHandle")
    with _readable():
        return None if handle is None else base64url_to_bytes(handle).decode()


def as_user_handle(user_id: str) -> bytes:
    return user_id.encode()


def went_back(kept: int, shown: int) -> bool:
    """Whether a counter shows that there are two of the passkey. Authenticators without one always show 0."""
    return (kept > 0 or shown > 0) and shown <= kept


def bad_passkey() -> UnauthorisedError:
    """The same whatever is wrong with it, so that nothing is learnt about what exists."""
    return UnauthorisedError("This passkey was not accepted. Try again, or sign in in another way.", code="bad_passkey")


def credential_bytes(credential_id: str) -> bytes:
    return base64.urlsafe_b64decode(credential_id + "=" * (-len(credential_id) % 4))


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise bad_passkey() from error
