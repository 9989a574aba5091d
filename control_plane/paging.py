"""Lists in pages, with opaque cursors."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, NoReturn, TypeVar

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel

from control_plane.errors import invalid_field

_Item = TypeVar("_Item")
_Row = TypeVar("_Row")

Cursor = Annotated[str | None, Query(max_length=400, description="Opaque; `next_cursor` of the previous page.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Most items in one page.")]


def _storable(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no such moment in UTC") from error


Moment = Annotated[AwareDatetime, AfterValidator(_storable)]
"""A moment to filter by, with its offset; in UTC."""
Since = Annotated[Moment | None, Query(description="Not before this moment; RFC 3339.")]
Until = Annotated[Moment | None, Query(description="Before this moment; RFC 3339.")]


class Page(BaseModel, Generic[_Item]):
    """Part of a list."""

    items: list[_Item]
    next_cursor: str | None
    """None on the last page."""


def encode_cursor(*keys: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode("ascii").rstrip("=")


def decode_cursor(cursor: str | None, *types: type) -> list[Any] | None:
    """The keys of the last row seen. Raises InvalidInputError for a cursor that this farm did not make."""
    if cursor is None:
        return None
    try:
        keys = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, UnicodeError) as error:
        raise invalid_field("cursor", "This cursor was not made by the farm.") from error
    if not isinstance(keys, list) or [type(key) for key in keys] != list(types) or not all(map(_is_storable, keys)):
        raise invalid_field("cursor", "This cursor is not for this list.")
    return keys


def _is_storable(key: str | int) -> bool:
    """Whether a database can compare it with what it holds."""
    return key.isprintable() if isinstance(key, str) else abs(key) < 2**63


def decode_moment(text: str) -> datetime:
    """A time from a cursor. Raises InvalidInputError for one that this farm did not make."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else _no_moment()
    except (ValueError, OverflowError):
        return _no_moment()


def _no_moment() -> NoReturn:
    raise invalid_field("cursor", "This cursor was not made by the farm.")


def split_page(rows: Sequence[_Row], limit: int) -> tuple[list[_Row], _Row | None]:
    """Of `limit + 1` fetched rows: those of the page, and its last row when there are more."""
    page = list(rows[:limit])
    return page, page[-1] if len(rows) > limit else None
