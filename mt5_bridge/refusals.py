"""Why the bridge itself says no. Codes are stable and cross the link; messages are safe to show."""

from __future__ import annotations

from typing import Final

RETRYABLE: Final = frozenset(
    {"busy", "deadline", "terminal_lost", "outcome_unknown", "worker_down", "hello_timeout", "bot_unknown", "bot_pace"}
)
"""Codes after which the same call can succeed later. For trades only with the same client order id."""


class RefusedError(Exception):
    """The bridge refused a call before the terminal saw it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later."""
        return self.code in RETRYABLE


def terminal_lost() -> RefusedError:
    """The terminal is not there or not connected to its account."""
    return RefusedError("terminal_lost", "the terminal is not connected to its account at the moment")
