"""What a bot says of itself: its status file and its log. Neither is trusted to be well-formed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from pydantic import ValidationError

from node_agent.layout import BotLayout
from node_agent.protocol.encoding import storable
from node_agent.protocol.messages import PaperFill

_READ_LIMIT = 256 * 1024
_STATUS_LIMIT = 64 * 1024
_TEXT_LIMIT = 2000
_SYMBOL_LIMIT = 64
_LEVELS = ("info", "warning", "error")

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Status:
    phase: str
    detail: str
    revision: int


@dataclass(frozen=True)
class LogLine:
    offset: int
    """Where the line begins in its file, in bytes."""
    at: str
    level: Level
    text: str
    fill: PaperFill | None = None


@dataclass(frozen=True)
class LogPiece:
    """Complete lines from one read and where the next read begins."""

    inode: int
    start: int
    end: int
    lines: tuple[LogLine, ...]


def read_status(layout: BotLayout) -> Status | None:
    """None while there is none, or when it makes no sense."""
    try:
        with layout.status.open("rb") as file:
            raw = json.loads(file.read(_STATUS_LIMIT))
        return Status(_plain(raw["phase"]), _plain(raw.get("detail", "")), int(raw["revision"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def read_log(path: Path, inode: int, offset: int) -> LogPiece | None:
    """Lines after `offset` of the file that had `inode`; a replaced or shortened file is read from its start.

    None when there is nothing new. A last line without its newline is left for the next read.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            start = offset if status.st_ino == inode and status.st_size >= offset else 0
            file.seek(start)
            data = file.read(_READ_LIMIT)
    except FileNotFoundError:
        return None
    end = data.rfind(b"\n") + 1
    if end == 0:
        if len(data) < _READ_LIMIT:
            return None
        # A line longer than anything sensible: skip what was read of it.
        end = len(data)
    lines = []
    position = start
    for raw in data[:end].splitlines(keepends=True):
        if raw.strip():
            lines.append(_parse(position, raw))
        position += len(raw)
    return LogPiece(status.st_ino, start, start + end, tuple(lines))


def _parse(offset: int, raw: bytes) -> LogLine:
    try:
        entry = json.loads(raw)
        level = str(entry.get("level", "info"))
        text, at, fill = str(entry["text"]), str(entry.get("at", "")), _fill(entry.get("fill"))
    except (ValueError, KeyError, AttributeError, RecursionError):
        level, text, at, fill = "info", raw.decode("utf-8", "replace").strip(), "", None
    return LogLine(offset, at, cast(Level, level) if level in _LEVELS else "info", _plain(text), fill)


def _fill(said: object) -> PaperFill | None:
    """None for anything that is no fill."""
    if not isinstance(said, dict):
        return None
    try:
        fill = PaperFill.model_validate(said, strict=True)
        return fill.model_copy(update={"symbol": storable(fill.symbol, _SYMBOL_LIMIT)})
    except ValidationError:
        return None


def _plain(text: object) -> str:
    return storable(text, _TEXT_LIMIT)
