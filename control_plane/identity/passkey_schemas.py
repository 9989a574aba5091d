"""Bodies of passkeys. Names inside of what a browser answers are WebAuthn's own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from control_plane.identity.authenticators import Answer

CredentialId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=1400)]
Bytes = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=16_000)]
PasskeyName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


class _PublicKeyCredential(BaseModel):
    """As `toJSON()` of a browser gives it; binary parts in base64url without padding."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: CredentialId
    raw_id: CredentialId = Field(alias="rawId")
    type: Literal["public-key"]

    def as_answer(self) -> Answer:
        return self.model_dump(by_alias=True, exclude_none=True)


class _Attestation(BaseModel):
    client_data_json: Bytes = Field(alias="clientDataJSON")
    attestation_object: Bytes = Field(alias="attestationObject")


class _Assertion(BaseModel):
    client_data_json: Bytes = Field(alias="clientDataJSON")
    authenticator_data: Bytes = Field(alias="authenticatorData")
    signature: Bytes
    user_handle: Bytes | None = Field(default=None, alias="userHandle")


class NewCredential(_PublicKeyCredential):
    """What `navigator.credentials.create` gave."""

    response: _Attestation


class ShownCredential(_PublicKeyCredential):
    """What `navigator.credentials.get` gave."""

    response: _Assertion


class PasskeyOptionsOut(BaseModel):
    """For `navigator.credentials`, as JSON (`parseCreationOptionsFromJSON`, `parseRequestOptionsFromJSON`)."""

    options: dict[str, Any]


class AddPasskey(BaseModel):
    name: PasskeyName
    credential: NewCredential


class RenamePasskey(BaseModel):
    name: PasskeyName


class SignInWithPasskey(BaseModel):
    credential: ShownCredential


class PasskeyOut(BaseModel):
    id: str
    name: str
    backed_up: bool
    """Whether it is kept in more than one device."""
    created_at: datetime
    last_used_at: datetime | None
    suspended_at: datetime | None
    """When its counter went back, which says that there is a copy of it; it is refused since."""


class NewPasskeyOut(PasskeyOut):
    recovery_codes: list[str] | None
    """With the first second factor, shown this once; each stands in for it once."""


class PasskeyList(BaseModel):
    items: list[PasskeyOut]
