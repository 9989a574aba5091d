"""Where the deeds of the present request or command come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ORIGIN: ContextVar[str] = ContextVar("origin_of_deeds", default="farm")


@contextmanager
def coming_from(origin: str) -> Iterator[None]:
    """Everything that is recorded inside, also by threads that are handed this context, is said to come from there."""
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


def present_origin() -> str:
    return _ORIGIN.get()
