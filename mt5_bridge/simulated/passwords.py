"""Hashes of account passwords at the simulated broker."""

from __future__ import annotations

import hashlib
import hmac
import secrets

_COST = 2**12  # tens of ms are enough here, and logins share the thread that moves the market


def hash_password(password: str) -> str:
    """A salted hash, as text."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_digest(password, salt).hex()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether `stored` was made of this password."""
    salt, _, digest = stored.partition("$")
    if not digest:
        return False
    return hmac.compare_digest(_digest(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=8, p=1)
