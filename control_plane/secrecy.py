"""Secrets that come from outside: from files of their owner only, and never such that can be guessed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

from control_plane.errors import ConfigurationError

_LEAST_LENGTH = 16
_LEAST_DIFFERENT = 8
_PLACEHOLDERS = ("change", "example", "secret", "password", "postgres", "mt5farm", "default", "12345", "qwert")


def read_secret(path: Path) -> str:
    """What a file holds, less the space around it. Raises ConfigurationError when others may read it."""
    try:
        open_to_others = path.stat().st_mode & 0o077
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the secret in {path} cannot be read") from error
    if open_to_others:
        raise ConfigurationError(f"{path} must be readable by its owner only; run: chmod 600 {path}")
    if not found:
        raise ConfigurationError(f"{path} is empty")
    return found


def new_secret() -> str:
    return secrets.token_hex(24)


def keep_secret(path: Path, secret: str) -> str:
    """Writes it, unless there is one already; returns the one that is there then. Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_secret(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")
    return secret


def check_strength(secret: str, what: str) -> None:
    """Raises ConfigurationError, in a sentence that does not quote it."""
    lower = secret.lower()
    if (
        len(secret) < _LEAST_LENGTH
        or len(set(secret)) < _LEAST_DIFFERENT
        or any(word in lower for word in _PLACEHOLDERS)
    ):
        raise ConfigurationError(
            f"{what} is too easy to guess; take one of at least {_LEAST_LENGTH} random characters, "
            "for example from: openssl rand -hex 24"
        )


def check_address(address: str, what: str) -> None:
    """The password in an address of a service; one without is for sockets and files of the driver's own."""
    try:
        password = urlsplit(address).password
    except ValueError as error:
        raise ConfigurationError(f"the address of {what} cannot be read") from error
    if password:
        check_strength(unquote(password), f"the password of {what}")
