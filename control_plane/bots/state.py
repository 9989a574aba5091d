"""States of a bot: what should be."""

from __future__ import annotations

from enum import StrEnum


class BotIntent(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
