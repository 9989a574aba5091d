"""What a guard must not forget: the day's base, the highest equity, what has tripped. In a small file by the journal.

The file is replaced whole, so that a crash leaves the old one or the new one. One that is damaged, or gone although
the journal knows of it, is never read as "nothing has tripped": then nothing may be opened until a person re-arms.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from mt5_bridge.balance_operations import Ledger
from mt5_bridge.journal import Journal
from mt5_bridge.replacing import put_in_place

log = logging.getLogger(__name__)

_VERSION: Final = 1


@dataclass(frozen=True)
class Trip:
    """A loss limit that was hit, and by how much. Amounts in the account currency, `at` UTC seconds since 1970."""

    switch: str
    """`daily_loss`, `drawdown` or `equity_floor`."""
    at: float
    figure: float
    limit: float


@dataclass(frozen=True)
class Level:
    """An equity that losses are counted from. Deposits and withdrawals move it, so that they are neither profit nor
    loss: `amount` by as much money, for limits in money; `share` in proportion, for limits in percent.
    """

    amount: float
    share: float
    given: float | None = None
    """What a person has set, for a level that is not read from the account."""


@dataclass(frozen=True)
class Memory:
    """Amounts in the account currency. None while nothing was seen."""

    day: int | None = None
    """`Guard.trading_day` of `day_base`."""
    day_base: Level | None = None
    day_since: float = 0.0
    """When `day_base` was read, UTC seconds since 1970: later than the day's begin when nobody looked then."""
    start: Level | None = None
    """Equity at the first look, or when it was last re-armed."""
    peak: Level | None = None
    """Highest equity since then."""
    given_start: Level | None = None
    """`Guard.drawdown_start`."""
    floor: Level | None = None
    """`Guard.equity_floor`."""
    trips: tuple[Trip, ...] = ()
    rearm_id: str = ""
    """Of the last re-arming that was carried out."""
    ledger: Ledger | None = None
    """Up to where deposits and withdrawals are counted."""


class GuardRecord:
    """The memory, kept on disk before anything is done by it. On the executor's thread."""

    def __init__(self, path: Path | None = None, journal: Journal | None = None, seed: Memory | None = None) -> None:
        """`seed` is what the farm remembers of the account, for a folder that has never had a guard. Without a path
        nothing is kept, for tests.
        """
        self._path = path
        self._journal = journal
        self.memory = Memory()
        self.problem = ""
        """Why nothing may be opened: what was remembered is lost, or cannot be written down."""
        self._damaged = False
        try:
            kept = self._read()
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.critical("the guard's file cannot be used: %s", error)
            self.problem, self._damaged = "what the guard has to remember cannot be read", True
            kept = None
        if kept is not None:
            self.memory = kept
        elif seed is not None and not self.problem:
            self.keep(seed)

    def keep(self, memory: Memory) -> None:
        """Take over a new memory. When it cannot be written down it counts all the same, and nothing may be opened."""
        if memory == self.memory and not self.problem:
            return
        if self._is_carried_on(memory):
            self.memory = memory
            return
        if self._damaged and memory.rearm_id == self.memory.rearm_id:
            self.memory = memory
            return  # only a person may put something else in the place of what is lost
        self.memory = memory
        try:
            self._write(memory)
        except OSError as error:
            log.error("the guard's file cannot be written: %s", error)  # noqa: TRY400 - said again at each look
            self.problem = "what the guard has to remember cannot be written down"
        else:
            self.problem, self._damaged = "", False

    def _is_carried_on(self, memory: Memory) -> bool:
        """Whether only the ledger has moved on. The older one on disk leads to the same with the deals since then."""
        known = self.memory
        return not self.problem and known.ledger is not None and memory == replace(known, ledger=memory.ledger)

    def _read(self) -> Memory | None:
        if self._path is None:
            return None
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            if self._journal is not None and self._journal.knows_guard():
                raise ValueError("the file is gone") from None
            return None
        checksum, _, body = text.partition("\n")
        if int(checksum, 16) != zlib.crc32(body.encode()):
            raise ValueError("the file is damaged")
        data = json.loads(body)
        if data.pop("version") != _VERSION:
            raise ValueError("the file is of another version")
        return parse_memory(data)

    def _write(self, memory: Memory) -> None:
        if self._path is None:
            return
        body = json.dumps({"version": _VERSION, **memory_data(memory)})
        new = self._path.with_suffix(".new")
        with open(new, "w", encoding="utf-8", opener=_private) as file:
            file.write(f"{zlib.crc32(body.encode()):08x}\n{body}")
            file.flush()
            os.fsync(file.fileno())
        put_in_place(new, self._path)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self._path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        if self._journal is not None:
            self._journal.note_guard()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


_READ_LEVELS: Final = ("day_base", "start", "peak")
_GIVEN_LEVELS: Final = ("given_start", "floor")


def memory_data(memory: Memory) -> dict[str, Any]:
    """The memory for its file and for the farm, ready for JSON. What older workers know is where they look for it."""
    data = asdict(memory)
    data["trips"] = list(data["trips"])
    for name in _READ_LEVELS:
        level: Level | None = getattr(memory, name)
        data[name], data[f"{name}_share"] = (None, None) if level is None else (level.amount, level.share)
    return data


def parse_memory(data: Mapping[str, Any]) -> Memory:
    """Raises ValueError, TypeError, KeyError. Older workers know no shares, levels that were given, and no ledger."""
    trips = tuple(
        Trip(str(each["switch"]), float(each["at"]), float(each["figure"]), float(each["limit"]))
        for each in data["trips"]
    )
    levels = {name: _level(data[name], data.get(f"{name}_share")) for name in _READ_LEVELS}
    given = {name: _given_level(data.get(name)) for name in _GIVEN_LEVELS}
    ledger = data.get("ledger")
    return Memory(
        day=None if data["day"] is None else int(data["day"]),
        day_since=float(data["day_since"]),
        trips=trips,
        rearm_id=str(data["rearm_id"]),
        ledger=None if ledger is None else Ledger(float(ledger["money"]), int(ledger["ticket"]), int(ledger["since"])),
        **levels,
        **given,
    )


def _level(amount: Any, share: Any) -> Level | None:
    if amount is None:
        return None
    return Level(float(amount), float(amount if share is None else share))


def _given_level(data: Mapping[str, Any] | None) -> Level | None:
    return None if data is None else Level(float(data["amount"]), float(data["share"]), float(data["given"]))
