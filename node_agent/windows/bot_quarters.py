"""Where bots whose code users have brought live on a Windows node."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import structlog

from mt5_bridge.sandbox.leavings import clear_folder
from node_agent.bots.quarters import Place, Seen
from node_agent.files import private_folder
from node_agent.layout import TerminalLayout
from node_agent.terminal.folder import is_link
from node_agent.windows import bot_room
from node_agent.windows.bot_end import any_length, end_all
from node_agent.windows.port import Windows, WindowsCallError

_log = structlog.get_logger(__name__)
_KEEPER: Final = "node_agent.windows.bot_keeper"


class WindowsQuarters:
    """Implements `quarters.Quarters`: a room for each bot, apart from its terminal's folder."""

    def __init__(self, windows: Windows, own_users: bool) -> None:
        """`own_users`: whether this node may make users; without it keepers refuse all bots."""
        self._windows = windows
        self._own_users = own_users

    @property
    def keeper(self) -> str:
        return _KEEPER

    def keeper_config(self, terminal: TerminalLayout, bot_id: str) -> Path:
        return terminal.room(bot_id).keeper

    def furnish(self, terminal: TerminalLayout, bot_id: str, code: Path) -> Place:
        room = terminal.room(bot_id)
        for folder in (room.root, room.shown, room.box):
            private_folder(folder)
        # A copy: rights to it are this bot's alone, and code is small.
        shutil.rmtree(room.code, ignore_errors=True)
        shutil.copytree(code, room.code)
        self._close(terminal.bots)
        config, token, bridge = (room.shown / name for name in ("bot.json", "token", "bridge"))
        seen = Seen(str(config), str(token), str(bridge), str(room.box), str(room.code))
        return Place(config, token, room.keeper, bridge, room.box, seen, {"own_users": self._own_users})

    def _close(self, bots: Path) -> None:
        try:
            self._windows.set_rights(bots, bot_room.farm_rights(self._windows.own_sid()))
        except WindowsCallError as error:
            raise OSError(f"the folder of the bots cannot be closed: {error}") from error
        if is_link(bots) or any(is_link(each) for each in bots.iterdir()):
            raise OSError("the folder of a bot has become a link")

    def hand_over(self, place: Place, bot_id: str) -> None:
        """Nothing: the keeper does so once it has made the bot's user."""

    def clear(self, terminal: TerminalLayout, bot_id: str) -> None:
        room = terminal.room(bot_id)
        if not room.root.is_dir():
            return
        try:
            end_all(self._windows, room.root)
        except WindowsCallError as error:
            _log.warning("bot_user_not_removed", bot=bot_id, error=str(error))

    def demolish(self, terminal: TerminalLayout) -> None:
        if not terminal.rooms.is_dir():
            return
        for room in terminal.rooms.iterdir():
            self.clear(terminal, room.name)
            # Folders that lie deep enough in each other stop whoever removes them in the usual way.
            clear_folder(any_length(terminal.room(room.name).box))
        shutil.rmtree(terminal.rooms)
