"""Hash passwords, verify them, and refuse those that somebody would guess."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from zxcvbn import zxcvbn

from control_plane.errors import InvalidInputError, invalid_field

_PARALLEL_HASHES = 4
_LEAST_SCORE = 3
"""zxcvbn's "safely unguessable": over 10^8 guesses by somebody who knows leaked lists, names, dates and keyboards."""
_JUDGED_CHARACTERS = 72
"""The estimate takes longer than linear time; what comes after these only makes a password better."""


class Passwords:
    """Argon2id with the parameters that OWASP recommends: 19 MiB, two passes, one lane."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        # Each hash takes 19 MiB and a core for a while; a flood of sign-ins must not take the machine.
        self._hashing = BoundedSemaphore(_PARALLEL_HASHES)
        # Verified against when there is no such user, so that both cases take the same time.
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Takes the same time without a hash as with a wrong password."""
        try:
            with self._hashing:
                self._hasher.verify(password_hash or self._nobody, password)
        except (Argon2Error, InvalidHashError):
            return False
        return password_hash is not None


def refuse_guessable(password: str, words_of_user: Sequence[str], field: str = "password") -> None:
    """Raises InvalidInputError for passwords of leaked lists and their kin.

    `words_of_user` are what an attacker knows about the user; their parts count as guessed.
    """
    known = [part for word in words_of_user for part in (word, *word.replace("@", " ").replace(".", " ").split())]
    judgement = zxcvbn(password[:_JUDGED_CHARACTERS], user_inputs=known)
    if judgement["score"] < _LEAST_SCORE:
        raise _guessable(field, str(judgement["feedback"]["warning"]))


def _guessable(field: str, warning: str) -> InvalidInputError:
    why = warning or "This password is easy to guess."
    return invalid_field(field, f"{why} A few uncommon words make a good one.", code="password_guessable")
