"""What the gateway counts, in a small file that the agent shows to those who run the farm."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from node_agent.files import write_atomically

EVERY_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class GatewayFigures(BaseModel):
    """Of one gateway process, since it was started; what is open is of this moment."""

    model_config = ConfigDict(frozen=True)

    pid: int
    sessions: int = 0
    """Open ones."""
    strangers: int = 0
    """Connections whose ticket is not redeemed yet."""
    opened: int = 0
    refused: dict[str, int] = {}
    """By code."""
    ended: dict[str, int] = {}
    """Sessions that the gateway has ended, by reason."""
    turned_away: int = 0
    """Connections for which there was no room."""
    bytes_in: int = 0
    """From clients."""
    bytes_out: int = 0
    """To clients."""


class Traffic:
    """Bytes of one session; counted by its thread, read by others."""

    __slots__ = ("bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.bytes_in = self.bytes_out = 0


class Tally:
    """Counts what happens, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = 0
        self._turned_away = 0
        self._refused: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._open: set[Traffic] = set()
        self._bytes_in = self._bytes_out = 0

    def open(self) -> Traffic:
        """A session begins; its traffic is to be closed again."""
        traffic = Traffic()
        with self._lock:
            self._opened += 1
            self._open.add(traffic)
        return traffic

    def close(self, traffic: Traffic) -> None:
        with self._lock:
            self._open.discard(traffic)
            self._bytes_in += traffic.bytes_in
            self._bytes_out += traffic.bytes_out

    def refuse(self, code: str) -> None:
        with self._lock:
            self._refused[code] += 1

    def end(self, reason: str) -> None:
        with self._lock:
            self._ended[reason] += 1

    def turn_away(self) -> None:
        with self._lock:
            self._turned_away += 1

    def figures(self, pid: int, strangers: int) -> GatewayFigures:
        with self._lock:
            return GatewayFigures(
                pid=pid,
                sessions=len(self._open),
                strangers=strangers,
                opened=self._opened,
                refused=dict(self._refused),
                ended=dict(self._ended),
                turned_away=self._turned_away,
                bytes_in=self._bytes_in + sum(each.bytes_in for each in self._open),
                bytes_out=self._bytes_out + sum(each.bytes_out for each in self._open),
            )


class FiguresFile:
    """Written when there is something new to say."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written: bytes | None = None

    def write(self, figures: GatewayFigures) -> None:
        body = figures.model_dump_json().encode()
        if self._path is None or body == self._written:
            return
        try:
            write_atomically(self._path, body)
            self._written = body
        except OSError as error:
            _log.warning("figures_not_written", error=str(error))


def read_figures(path: Path, pid: int | None) -> GatewayFigures | None:
    """Of this process; None when it has written none."""
    try:
        found = GatewayFigures.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.pid == pid else None
