"""URL-safe base64 without padding, the form in which keys and sealed bytes travel."""

from __future__ import annotations

import base64
import binascii


def to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_text(text: str) -> bytes:
    """Raises ValueError for anything that `to_text` could not have made."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not URL-safe base64") from error
    if to_text(data) != text:
        raise ValueError("not canonical URL-safe base64")
    return data


def storable(text: object, limit: int) -> str:
    """At most `limit` characters that can be sent and stored: neither half of a surrogate pair nor NUL has a place in a
    database.
    """
    return str(text)[:limit].encode("utf-8", "replace").decode().replace("\0", "?")
