"""Where bots whose code users have brought live on this node, and which program keeps them there."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from mt5_bridge.sandbox.room import BOX, BRIDGE, CODE, PRIVATE, user_id
from node_agent.files import private_folder
from node_agent.layout import TerminalLayout


@dataclass(frozen=True)
class Seen:
    """Paths as the bot sees them."""

    config: str
    token: str
    bridge: str
    box: str
    code: str


@dataclass(frozen=True)
class Place:
    """Files of one bot, ready to be written to."""

    config: Path
    """The bot's own configuration."""
    token: Path
    keeper: Path
    """Its keeper's configuration."""
    bridge: Path
    """Where the keeper listens for the bot."""
    box: Path
    seen: Seen
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further words of the keeper's configuration."""


class Quarters(Protocol):
    """Of one node."""

    @property
    def keeper(self) -> str:
        """Module that `python -m` runs."""

    def keeper_config(self, terminal: TerminalLayout, bot_id: str) -> Path:
        """Where the keeper of a bot finds its configuration."""

    def furnish(self, terminal: TerminalLayout, bot_id: str, code: Path) -> Place:
        """Make the folders of a bot that does not run. `code` is its unpacked code. Raises OSError."""

    def hand_over(self, place: Place, bot_id: str) -> None:
        """Called once the files are written. Raises OSError."""

    def clear(self, terminal: TerminalLayout, bot_id: str) -> None:
        """What need not outlive a bot that has ended. Never raises."""

    def demolish(self, terminal: TerminalLayout) -> None:
        """All that is left of the bots of a terminal. Raises OSError."""


_KEEPER: Final = "mt5_bridge.sandbox.keeper"


class LinuxQuarters:
    """Implements `Quarters`: beside other bots' files, since the sandbox shows each of them its own alone."""

    keeper = _KEEPER

    def keeper_config(self, terminal: TerminalLayout, bot_id: str) -> Path:
        return terminal.bot(bot_id).keeper

    def furnish(self, terminal: TerminalLayout, bot_id: str, code: Path) -> Place:
        del code  # shown to it where it lies
        layout = terminal.bot(bot_id)
        private_folder(layout.box)
        seen = Seen(f"{PRIVATE}/bot.json", f"{PRIVATE}/token", BRIDGE, BOX, CODE)
        return Place(layout.config, layout.token, layout.keeper, terminal.bridge_of(bot_id), layout.box, seen)

    def hand_over(self, place: Place, bot_id: str) -> None:
        if sys.platform != "win32" and os.geteuid() == 0:
            for path in (place.config, place.token):
                os.chown(path, user_id(bot_id), 0)

    def clear(self, terminal: TerminalLayout, bot_id: str) -> None:
        """Nothing: its files go with the terminal."""

    def demolish(self, terminal: TerminalLayout) -> None:
        """Nothing: its files go with the terminal."""
