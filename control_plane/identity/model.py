"""Tables of tenants and users, and of everything by which a user proves who they are."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime
from control_plane.identity.state import UserKind


class Tenant(Base):
    """The operator itself, or a broker that rents capacity."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class User(TenantRow, Base):
    """A person whose e-mail address is known to be theirs, or a service account, which only has keys for programs."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    """In lower case."""
    display_name: Mapped[str] = mapped_column(String(80))
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(200))
    """Empty for a service account, which has none."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(16), default=UserKind.PERSON, server_default=UserKind.PERSON)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Of a service account whose keys have ended."""
    plan: Mapped[str | None] = mapped_column(String(16))
    """Of `entitlements.plans.Plan`; None limits nothing."""


class EmailChange(TenantRow, Base):
    """Somebody's wish for another e-mail address, and what became of it."""

    __tablename__ = "email_changes"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    old_email: Mapped[str] = mapped_column(String(254))
    new_email: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SignUp(TenantRow, Base):
    """Somebody who says that an address is theirs. It becomes a user once the mail to it was answered."""

    __tablename__ = "sign_ups"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), index=True)
    display_name: Mapped[str] = mapped_column(String(80))
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UserSession(TenantRow, Base):
    """A signed-in browser. Only the hash of its secret is kept."""

    __tablename__ = "user_sessions"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """To five minutes."""
    address: Mapped[str] = mapped_column(String(45))
    """IP address of the sign-in; empty when it is not known."""
    user_agent: Mapped[str] = mapped_column(String(200))
    proved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When the user last proved who they are, with everything that they have enrolled."""
    second_factor_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a second factor was last part of that proof."""


class TotpDevice(TenantRow, Base):
    """An authenticator app. Its secret is sealed for this row; an unconfirmed one proves nothing."""

    __tablename__ = "totp_devices"
    __table_args__ = (
        # A data key is not deleted while a secret is sealed with it.
        ForeignKeyConstraint(["tenant_id", "key_version"], ["tenant_keys.tenant_id", "tenant_keys.version"]),
        Index(None, "tenant_id", "key_version"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    key_version: Mapped[int]
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(BigInteger)
    """The 30 s step of the newest code that was accepted; older ones never are."""
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Passkey(TenantRow, Base):
    """A WebAuthn credential: it signs in alone, since its authenticator has verified the user."""

    __tablename__ = "passkeys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(60))
    credential_id: Mapped[str] = mapped_column(String(1400), unique=True)
    """In base64url; an authenticator may choose up to 1023 bytes."""
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """COSE key."""
    sign_count: Mapped[int] = mapped_column(BigInteger)
    """What its authenticator counted at the last use; 0 for those that do not count."""
    authenticator: Mapped[str] = mapped_column(String(36))
    """AAGUID."""
    backed_up: Mapped[bool]
    """Whether it is kept in more than one device, as of its last use."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    suspended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its counter went back, which says that there are two of it; it proves nothing since."""


class PasskeyChallenge(Base):
    """A challenge that one holder may answer once. For the farm alone: who signs in is not known before the answer."""

    __tablename__ = "passkey_challenges"
    __table_args__ = (Index(None, "holder", "purpose"),)

    challenge_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    holder: Mapped[str] = mapped_column(String(80))
    """The session, or the hash of the secret in the cookie of a browser that is not signed in."""
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class RecoveryCode(TenantRow, Base):
    """A code that stands in for the second factor once. Only its hash is kept."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index(None, "user_id", "code_hash", unique=True),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    code_hash: Mapped[str] = mapped_column(String(64))
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class KnownDevice(TenantRow, Base):
    """A browser that this user has signed in with; the failures of others do not make it wait."""

    __tablename__ = "known_devices"
    __table_args__ = (Index(None, "user_id", "secret_hash", unique=True),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    secret_hash: Mapped[str] = mapped_column(String(64))
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AttemptLane(Base):
    """How often something that can be guessed was tried in vain, by whom or for what the lane stands."""

    __tablename__ = "attempt_lanes"

    lane_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class ApiKey(TenantRow, Base):
    """A key for programs, with a part that may be shown and a secret of which only the hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(60))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """To five minutes."""
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
