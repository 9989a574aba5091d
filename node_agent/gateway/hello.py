"""The one line that each side says before a session: JSON, at most 4096 bytes, ended by a newline."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from node_agent.protocol.tickets import Ticket

VERSION = 1


class RefusedError(Exception):
    """The session is not opened. `code` is stable, the text is safe to show."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Hello:
    """What a client of the gateway says first."""

    ticket: str
    screen: bool
    """It wants to see the terminal's screen, and not to speak with its bridge."""


def parse(line: bytes) -> Hello:
    """Read a client's hello. Raises RefusedError."""
    hello = _object(line)
    if hello.get("v") != VERSION:
        raise RefusedError("malformed_hello", f"the hello must have version {VERSION}")
    ticket = hello.get("ticket")
    if not isinstance(ticket, str):
        raise RefusedError("malformed_hello", "the hello has no ticket")
    channel = hello.get("channel", "bridge")
    if channel not in ("bridge", "screen"):
        raise RefusedError("malformed_hello", "the hello asks for a channel that there is not")
    return Hello(ticket, channel == "screen")


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError("malformed_hello", "the hello is not JSON") from error
    if not isinstance(value, dict):
        raise RefusedError("malformed_hello", "the hello is not a JSON object")
    return value


def worker_hello(ticket: Ticket, token: str) -> bytes:
    return _line(
        {
            "v": VERSION,
            "token": token,
            "scope": ticket.scope.value,
            "epoch": ticket.epoch,
            "principal": ticket.principal,
        }
    )


def check_worker_answer(line: bytes) -> None:
    """Raises RefusedError with the worker's own reason when it refused, ValueError when it said nothing sensible."""
    answer = json.loads(line)
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        raise ValueError("the worker's answer is no answer")  # noqa: TRY004 - the bytes are wrong, not our types
    if not answer["ok"]:
        raise RefusedError(str(answer.get("code", "worker_down")), str(answer.get("message", "")))


def accepted(ticket: Ticket, session_id: str) -> bytes:
    return _line({"ok": True, "terminal": ticket.terminal_id, "scope": ticket.scope.value, "session": session_id})


def refused(refusal: RefusedError) -> bytes:
    return _line({"ok": False, "code": refusal.code, "message": str(refusal)})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
