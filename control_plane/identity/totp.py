"""Time-based one-time passwords (RFC 6238) and recovery codes, as pure functions."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime

import pyotp
import segno

STEP_SECONDS = 30
RECOVERY_CODES = 10
_TOLERATED_STEPS = 1
"""Clocks of phones are off by less than this many steps."""
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
_GROUPS, _GROUP_LENGTH = 4, 4
_SIX_DIGITS = re.compile(r"[0-9]{6}")


def new_secret() -> str:
    """160 bits in base 32, as authenticator apps take it."""
    return pyotp.random_base32()


def matching_step(secret: str, code: str, now: datetime, after: int) -> int | None:
    """The step that a code belongs to, if it is near `now` and later than the step `after`, which was used already."""
    if not _SIX_DIGITS.fullmatch(code):
        return None
    present = int(now.timestamp()) // STEP_SECONDS
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    matching = [
        step
        for step in range(present - _TOLERATED_STEPS, present + _TOLERATED_STEPS + 1)
        if secrets.compare_digest(totp.at(step * STEP_SECONDS), code) and step > after
    ]
    return matching[0] if matching else None


def enrolment_uri(secret: str, email: str, farm_name: str) -> str:
    """What an authenticator app reads from the picture."""
    return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=email, issuer_name=farm_name)


def picture_of(uri: str) -> str:
    """A QR code as a data URI of an SVG picture, dark on white in every theme."""
    return segno.make(uri, error="m").svg_data_uri(scale=4, border=4, dark="#000", light="#fff")


def new_recovery_codes() -> list[str]:
    """79 bits each, so that their hashes need no salt."""
    return ["-".join(_group() for _ in range(_GROUPS)) for _ in range(RECOVERY_CODES)]


def recovery_hash(code: str) -> str:
    """The same however a person types it."""
    plain = "".join(each for each in code.lower() if each in _ALPHABET)
    return hashlib.sha256(plain.encode()).hexdigest()


def _group() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH))
