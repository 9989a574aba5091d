"""Roles, kinds of mail, and how long a guess has to wait after failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

OPERATOR = "operator"
"""Kind of the tenant to whom the farm belongs."""


class Role(StrEnum):
    TRADER = "trader"
    SUPPORT = "support"
    OPS = "ops"
    BROKER_ADMIN = "broker_admin"
    OWNER = "owner"


class UserKind(StrEnum):
    PERSON = "person"
    SERVICE = "service"
    """A program of a tenant: no password, no sign-in, only keys."""


OPS_ROLES = frozenset({Role.OWNER, Role.OPS})
"""Who runs the fleet."""
STAFF_ROLES = frozenset(Role) - {Role.TRADER}
"""Who does nothing without a second factor."""
CARING_ROLES = frozenset({Role.SUPPORT, Role.BROKER_ADMIN, Role.OWNER})
"""Who looks after the people of their own tenant."""


class MailKind(StrEnum):
    """What a mail of this part of the farm is about."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a kind of mail
    SECURITY_CHANGED = "security_changed"
    INVITATION = "invitation"
    CONFIRM_EMAIL = "confirm_email"
    EMAIL_CHANGED = "email_changed"


class SecurityChange(StrEnum):
    """What happened to somebody's sign-in: the action in the audit trail, and what a mail tells them."""

    CHANGE_PASSWORD = "change_password"  # noqa: S105 - the name of a deed
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a deed
    ENROL_SECOND_FACTOR = "enrol_second_factor"
    REMOVE_SECOND_FACTOR = "remove_second_factor"
    RENEW_RECOVERY_CODES = "renew_recovery_codes"
    MAKE_API_KEY = "make_api_key"
    CHANGE_EMAIL = "change_email"
    UNDO_EMAIL = "undo_email_change"
    ADD_PASSKEY = "add_passkey"
    REMOVE_PASSKEY = "remove_passkey"
    SUSPEND_PASSKEY = "suspend_passkey"

    @property
    def mail_kind(self) -> str:
        return f"{MailKind.SECURITY_CHANGED}.{self}"


class PasskeyPurpose(StrEnum):
    """What a challenge was given for; an answer to one is no answer to another."""

    REGISTER = "register"
    SIGN_IN = "sign_in"
    """Alone, or beside a password."""
    STEP_UP = "step_up"


PROOF_LASTS = timedelta(minutes=10)
"""How old the last proof may be when credentials or money are touched."""


@dataclass(frozen=True)
class Pace:
    """How fast something may be guessed: some failures for free, then a pause that doubles with each."""

    free: int
    longest: timedelta
    forgotten_after: timedelta
    """Failures count together while none is older than this before the next."""


PASSWORD_PACE = Pace(free=5, longest=timedelta(minutes=2), forgotten_after=timedelta(minutes=15))
CODE_PACE = Pace(free=5, longest=timedelta(minutes=30), forgotten_after=timedelta(days=1))
ADDRESS_PACE = Pace(free=30, longest=timedelta(minutes=1), forgotten_after=timedelta(minutes=15))
MAIL_PACE = Pace(free=3, longest=timedelta(minutes=5), forgotten_after=timedelta(hours=1))
LONGEST_MEMORY = max(pace.forgotten_after for pace in (PASSWORD_PACE, CODE_PACE, ADDRESS_PACE, MAIL_PACE))


def wait_after(pace: Pace, failures: int, last: datetime, now: datetime) -> timedelta:
    """How much longer the next attempt must wait: 1 s after the last free failure, then doubling."""
    if failures < pace.free:
        return timedelta(0)
    pause = min(timedelta(seconds=2 ** min(failures - pace.free, 20)), pace.longest)
    return max(last + pause - now, timedelta(0))


def counted(pace: Pace, failures: int, last: datetime, now: datetime) -> int:
    """How many of the failures still count."""
    return 0 if now - last >= pace.forgotten_after else failures


def needs_second_factor(role: str) -> bool:
    return role in STAFF_ROLES
