"""Telegram as far as the farm needs it: send a text, and read what people send to the bot."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Protocol

_SECONDS = 10.0
_MOST_BYTES = 1024 * 1024
_TOKEN = re.compile(r"\d{3,20}:[A-Za-z0-9_-]{20,80}")


class TelegramError(Exception):
    """Telegram could not be asked, or refused. The text is safe to show."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone
        """The user has blocked the bot, or the chat is no more: trying again cannot help."""


@dataclass(frozen=True)
class Incoming:
    """A text that somebody has sent to the bot."""

    update_id: int
    chat_id: int
    text: str


class Telegram(Protocol):
    def send(self, chat_id: int, text: str, *, silent: bool) -> None:
        """Raises TelegramError."""
        ...

    def incoming(self, after: int) -> list[Incoming]:
        """Private messages whose update id is above `after`; those up to it are forgotten. Raises TelegramError."""
        ...


@dataclass(frozen=True)
class TelegramBot:
    """The bot of this farm, by Telegram's HTTP API."""

    token: str = field(repr=False)
    address: str = "https://api.telegram.org"

    def __post_init__(self) -> None:
        if _TOKEN.fullmatch(self.token) is None:
            raise ValueError("this is not a token of a Telegram bot")

    def send(self, chat_id: int, text: str, *, silent: bool) -> None:
        self._call("sendMessage", {"chat_id": chat_id, "text": text, "disable_notification": silent})

    def incoming(self, after: int) -> list[Incoming]:
        updates = self._call("getUpdates", {"offset": after + 1, "timeout": 0, "allowed_updates": ["message"]})
        return [_incoming(each) for each in updates if isinstance(each, dict)] if isinstance(updates, list) else []

    def _call(self, method: str, what: dict[str, Any]) -> Any:
        """The token is part of the address, so no error may hold that."""
        request = urllib.request.Request(  # noqa: S310 - the operator's own address
            f"{self.address}/bot{self.token}/{method}",
            json.dumps(what).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
                answer = json.loads(response.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            gone = error.code == 403
            raise TelegramError(f"Telegram answered {error.code}.", gone=gone) from None
        except (OSError, ValueError) as error:
            raise TelegramError(f"Telegram cannot be reached: {type(error).__name__}.") from None
        return answer.get("result") if isinstance(answer, dict) else None


def _incoming(update: dict[str, Any]) -> Incoming:
    message = update.get("message") or {}
    chat = message.get("chat") or {}
    private = chat.get("type") == "private"
    return Incoming(
        int(update.get("update_id", 0)), int(chat.get("id", 0)), str(message.get("text", "")) if private else ""
    )
