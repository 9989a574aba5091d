"""Identifiers: a three-letter kind and a number that sorts by the time it was made."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_BITS = 48
_RANDOM_BITS = 82
_LENGTH = (_TIME_BITS + _RANDOM_BITS) // 5


def new_id(kind: str) -> str:
    """For example `acc_01jd5w...`: 48 bits of milliseconds since 1970, then 82 random bits, base 32."""
    number = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    digits = [_ALPHABET[(number >> shift) & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)]
    return f"{kind}_{''.join(digits)}"
