"""Keeps MT5's own journals short: it begins one for each day and deletes none, and a node runs for years.

The newest of each folder stays whatever it weighs, for the terminal writes to it. What links lead to stays as well.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, Field

from node_agent.files import remove_inside
from node_agent.layout import DataLayout, TerminalLayout

_log = structlog.get_logger(__name__)
_DAY_SECONDS = 86_400.0


class JournalPolicy(BaseModel):
    """How much of what MT5 has written about a terminal is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int = Field(default=30, ge=1)
    """Since a journal was written to last."""
    most_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """Of all journals of one terminal; above it the oldest go first."""


@dataclass(frozen=True)
class Journal:
    """One file; `written` as time.time() gives it."""

    path: Path
    size: int
    written: float


async def keep_journals_short(layout: DataLayout, policy: JournalPolicy, interval: float) -> None:
    """Until cancelled."""
    while True:
        await asyncio.to_thread(remove_journals, layout, policy, time.time())
        await asyncio.sleep(interval)


def remove_journals(layout: DataLayout, policy: JournalPolicy, now: float) -> None:
    """Look at all terminals once. What cannot be removed is logged, and tried again the next time."""
    for terminal_id in layout.terminals_on_disk():
        terminal = layout.terminal(terminal_id)
        gone = freed = 0
        for journal in superfluous(_journals(terminal), policy, now):
            try:
                remove_inside(terminal.root, journal.path)
            except OSError as error:
                _log.warning("journal_not_removed", path=str(journal.path), error=str(error))
            else:
                gone, freed = gone + 1, freed + journal.size
        if gone:
            _log.info("journals_removed", terminal=terminal_id, count=gone, bytes=freed)


def superfluous(journals: Iterable[Journal], policy: JournalPolicy, now: float) -> list[Journal]:
    """Which journals of one terminal go, the oldest first. Pure."""
    known = sorted(journals, key=lambda each: each.written)
    newest: dict[Path, Journal] = {each.path.parent: each for each in known}
    left = sum(each.size for each in known)
    going = []
    for each in known:
        is_old = now - each.written > policy.days * _DAY_SECONDS
        if each is not newest[each.path.parent] and (is_old or left > policy.most_bytes):
            going.append(each)
            left -= each.size
    return going


def _journals(terminal: TerminalLayout) -> list[Journal]:
    found: dict[Path, list[Journal]] = defaultdict(list)
    for folder in terminal.journals_of_terminal:
        try:
            for entry in () if folder.is_symlink() else os.scandir(folder):
                about = entry.stat(follow_symlinks=False)
                if entry.name.endswith(".log") and stat.S_ISREG(about.st_mode):
                    found[folder].append(Journal(Path(entry.path), about.st_size, about.st_mtime))
        except FileNotFoundError:
            continue  # nothing has been written yet
        except OSError as error:
            _log.warning("journals_unreadable", path=str(folder), error=str(error))
    return [each for journals in found.values() for each in journals]
