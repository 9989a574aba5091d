"""What sends a mail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class PostError(Exception):
    """The mail could not be handed over; trying again may help. The text is safe to log."""


@dataclass(frozen=True)
class Letter:
    """A finished mail. Its text may hold a link that signs somebody in, so it is never logged."""

    mail_id: str
    """The same for each attempt to send it."""
    recipient: str
    subject: str
    text: str = field(repr=False)
    html: str = field(default="", repr=False)
    """The same for those who read HTML; empty for a mail of text alone."""
    unsubscribe: str = field(default="", repr=False)
    """Where such mails can be ended; empty when they cannot."""


class Post(Protocol):
    """Hands mails over, each within 30 s."""

    def send(self, letter: Letter) -> None:
        """May be called again with the same letter when it is not known whether it went. Raises PostError."""
