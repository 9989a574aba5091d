"""Keeps the outputs of what the agent has started small: they are appended to for as long as it runs, maybe for months.

Strangers can make the gateway write, and a full disk is everybody's. Of what has grown too large only the end is kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import structlog

from node_agent.files import open_inside
from node_agent.layout import DataLayout
from node_agent.watchdog.keeper import output_of

_log = structlog.get_logger(__name__)
MOST_BYTES = 8 * 1024 * 1024
_KEPT_BYTES = 1024 * 1024


async def keep_outputs_small(layout: DataLayout, interval: float) -> None:
    """Until cancelled."""
    while True:
        await asyncio.to_thread(cut_outputs, layout)
        await asyncio.sleep(interval)


def cut_outputs(layout: DataLayout, most: int = MOST_BYTES, kept: int = _KEPT_BYTES) -> None:
    """Look at each once. What cannot be cut is logged."""
    for path in _outputs(layout):
        # Lines of a bot are told one by one by where they stand: none must come a second time.
        is_told = path.parent.parent.name == "bots" and path.name == "bot.log"
        try:
            if path.lstat().st_size > most:
                _cut(layout.root, path, 0 if is_told else kept)
                _log.info("output_cut", path=str(path))
        except OSError as error:
            _log.warning("output_not_cut", path=str(path), error=str(error))


def _outputs(layout: DataLayout) -> Iterator[Path]:
    yield from (path for path in (layout.gateway_files.output, output_of(layout)) if path.exists())
    for terminal_id in layout.terminals_on_disk():
        terminal = layout.terminal(terminal_id)
        yield from terminal.logs.glob("*.log")
        yield from terminal.bots.glob("*/*.log")


def _cut(root: Path, path: Path, kept: int) -> None:
    with os.fdopen(open_inside(root, path, os.O_RDWR | os.O_APPEND), "r+b") as file:
        file.seek(-kept, os.SEEK_END)
        end = file.read(kept)
        # Those who write to it append as well, so that they go on at its new end.
        file.truncate(0)
        file.write(end)
