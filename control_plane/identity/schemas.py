"""Bodies of sign-up, sign-in, users, and what they sign in with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, EmailStr, Field, SecretStr, StringConstraints

from control_plane.idempotency.schemas import ShownOnce
from control_plane.identity.passkey_schemas import ShownCredential
from control_plane.identity.scopes import KeyScope

NewPassword = Annotated[SecretStr, Field(min_length=8, max_length=200)]
GivenPassword = Annotated[SecretStr, Field(max_length=200)]
Code = Annotated[
    SecretStr, Field(min_length=6, max_length=40, description="Of the authenticator app, or a recovery code.")
]
LinkSecret = Annotated[SecretStr, Field(max_length=100, description="What follows the # in the link of the mail.")]


class SignUp(BaseModel):
    email: EmailStr
    password: NewPassword
    display_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class VerifyEmail(BaseModel):
    token: LinkSecret
    password: GivenPassword
    """The one chosen at the sign-up."""


class SignIn(BaseModel):
    email: EmailStr
    password: GivenPassword
    code: Code | None = None
    """This or a passkey is needed once the answer was `second_factor_required`."""
    passkey: ShownCredential | None = None


class RequestReset(BaseModel):
    email: EmailStr


class ResetPassword(BaseModel):
    token: LinkSecret
    password: NewPassword
    code: Code | None = None
    """This or a passkey is needed once the answer was `second_factor_required`."""
    passkey: ShownCredential | None = None


class ChangePassword(BaseModel):
    password: GivenPassword
    new_password: NewPassword


class ChangeEmail(BaseModel):
    email: EmailStr


class FollowedLink(BaseModel):
    token: LinkSecret


class StepUp(BaseModel):
    """A passkey or the code when a second factor is enrolled, else the password."""

    password: GivenPassword | None = None
    code: Code | None = None
    passkey: ShownCredential | None = None


class MailOut(BaseModel):
    """A mail is on its way, if there is anything to say to its recipient."""

    recipient: str


class UserOut(BaseModel):
    id: str
    email: str
    display_name: str
    role: str
    tenant_id: str
    created_at: datetime
    second_factor: bool
    """Whether one is enrolled: an authenticator app or a passkey."""
    second_factor_missing: bool
    """True when the role can do nothing until one is enrolled."""
    passkeys: bool
    """Whether there are any."""


class SessionOut(BaseModel):
    id: str
    address: str
    """IP address of the sign-in; empty when it is not known."""
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    """When it ends if it is not used before."""
    second_factor: bool
    current: bool
    """True for the session that asks."""


class SessionList(BaseModel):
    items: list[SessionOut]


class SecondFactorOut(BaseModel):
    enrolled: bool
    """Whether an authenticator app is."""
    enrolled_at: datetime | None
    recovery_codes_left: int


class TotpEnrolmentOut(ShownOnce):
    """For the authenticator app; shown once."""

    secret: str
    uri: str
    picture: str
    """The uri as a QR code: a data URI of an SVG picture."""


class ConfirmTotp(BaseModel):
    code: Annotated[SecretStr, Field(min_length=6, max_length=8)]


class RecoveryCodesOut(ShownOnce):
    """Shown once; each stands in for the second factor once."""

    codes: list[str]


class MakeApiKey(BaseModel):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=len(KeyScope))]
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """None for a key that does not expire."""


class ApiKeyOut(BaseModel):
    id: str
    name: str
    prefix: str
    scopes: list[KeyScope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To five minutes; None when it was never used."""


class NewApiKeyOut(ApiKeyOut, ShownOnce):
    key: str
    """The whole key, shown this once."""


class ApiKeyList(BaseModel):
    items: list[ApiKeyOut]
