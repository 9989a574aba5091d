"""Secrets that can be told from everything else: where one turns up, it has leaked.

What tests type in are fixed passwords. What the farm makes while tests run - tokens of sessions, mails, enrolment and
programs, data and master keys, seeds of authenticator apps, recovery codes - carries a mark in its middle and is random
around it, so that one search finds all of them, however they were encoded.
"""

from __future__ import annotations

import base64
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count

import pyotp
import pytest

from control_plane.identity import totp

PASSWORDS = (
    b"correct horse battery",
    b"broker-secret",
    b"farm-Secret-1",
    b"demo-password-1",
    b"a-broker-password",
    b"the mail password",
)
_MARK = b"\xc5KaNaRi\xe9"
_MARK_OF_SEEDS = "KANARIENSEED"
_MARK_OF_CODES = ("kana", "ryqq")
_PRIVATE_KEYS = (b"-----BEGIN PRIVATE KEY", b"-----BEGIN EC PRIVATE KEY")
_SMALLEST_SECRET = 24
"""Bytes. Shorter random values are salts, nonces and names."""
_MAKERS = frozenset(
    {
        "control_plane.fleet.service",
        "control_plane.identity.api_keys",
        "control_plane.identity.sessions",
        "control_plane.notifications.service",
        "control_plane.secrecy",
        "control_plane.vault.sealing",
        "node_agent.worker",
    }
)
"""Modules of which every long random value is a secret."""


def _in_base64(secret: bytes) -> set[bytes]:
    """What any base64 of any text with the secret in it has in it: one for each of the three ways it may fall."""
    found = set()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret)
        inner = whole[-(-8 * before // 6) : (before + len(secret)) * 8 // 6]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


_TEXTS = {
    **dict.fromkeys(PASSWORDS, "a password"),
    _MARK_OF_SEEDS.encode(): "the seed of an authenticator",
    "-".join(_MARK_OF_CODES).encode(): "a recovery code",
    "".join(_MARK_OF_CODES).encode(): "a recovery code",
}
TYPED = dict.fromkeys(PASSWORDS, "a password")
MADE = {
    **{text: name for text, name in _TEXTS.items() if text not in TYPED},
    **dict.fromkeys((_MARK, _MARK.hex().encode(), *sorted(_in_base64(_MARK))), "a key or a token"),
    **dict.fromkeys(_PRIVATE_KEYS, "a private key"),
}
ENCODED = {form: name for text, name in _TEXTS.items() for form in (text.hex().encode(), *sorted(_in_base64(text)))}
"""What is written as text otherwise, in what holds bytes: messages of a queue, binary columns shown as text."""


def found_in(content: bytes, *kinds: Mapping[bytes, str]) -> set[str]:
    """Names of the secrets that are in there, of the given kinds."""
    return {name for kind in kinds for form, name in kind.items() if form in content}


@contextmanager
def planted() -> Iterator[None]:
    """Meanwhile all that the farm makes is marked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "token_bytes", _marking(secrets.token_bytes))
        patch.setattr(pyotp, "random_base32", _marked_seed(pyotp.random_base32))
        patch.setattr(totp, "_group", _marked_groups(totp._group))
        yield


def _marking(make: Callable[[int | None], bytes]) -> Callable[[int | None], bytes]:
    def token_bytes(nbytes: int | None = None) -> bytes:
        made = make(nbytes)
        if len(made) < _SMALLEST_SECRET or _asked_by() not in _MAKERS:
            return made
        start = len(_MARK) + 1
        return made[:start] + _MARK + made[start + len(_MARK) :]

    return token_bytes


def _asked_by() -> str:
    """The module that wants a random value, whichever function of `secrets` it has called."""
    frame = sys._getframe(2)
    while frame.f_globals["__name__"] == secrets.__name__ and frame.f_back is not None:
        frame = frame.f_back
    name: str = frame.f_globals["__name__"]
    return name


def _marked_seed(make: Callable[[], str]) -> Callable[[], str]:
    return lambda: _MARK_OF_SEEDS + make()[len(_MARK_OF_SEEDS) :]


def _marked_groups(make: Callable[[], str]) -> Callable[[], str]:
    """Of each code's four groups the first two."""
    numbers = count()

    def group() -> str:
        number = next(numbers) % 4
        return _MARK_OF_CODES[number] if number < len(_MARK_OF_CODES) else make()

    return group
