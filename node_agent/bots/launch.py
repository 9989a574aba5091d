"""A bot's configuration file and command line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mt5_bridge.auth import BOT_PREFIX, bot_token
from mt5_bridge.sandbox.room import BOX, BRIDGE, CODE, PRIVATE, user_id
from node_agent.files import private_folder, write_atomically
from node_agent.layout import BotLayout, TerminalLayout
from node_agent.plan import bot_fingerprint
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredBot, DesiredTerminal
from node_agent.roster import Roster

_KEEPER = "mt5_bridge.sandbox.keeper"


def bot_command(layout: BotLayout, module: str) -> list[str]:
    return [sys.executable, "-m", module, "--config", str(layout.config)]


def keeper_command(layout: BotLayout) -> list[str]:
    return [sys.executable, "-m", _KEEPER, "--config", str(layout.keeper)]


def start_bot(
    roster: Roster,
    terminal: TerminalLayout,
    desired: DesiredTerminal,
    bot: DesiredBot,
    module: str,
    code: Path | None = None,
) -> Handle:
    """`code` is the folder of what the bot's owner has brought: it runs in a sandbox. Raises OSError, StorageError."""
    layout = terminal.bot(bot.bot_id)
    private_folder(layout.root)
    # A status of an earlier run must not pass for one of this run.
    layout.status.unlink(missing_ok=True)
    # Made of the worker's, and of no use for anything but to act as this bot.
    secret = bot_token(terminal.token.read_text().strip(), f"{BOT_PREFIX}{bot.bot_id}")
    write_atomically(layout.token, secret.encode())
    if code is None:
        command = bot_command(layout, module)
        write_atomically(layout.config, json.dumps(_config(terminal, layout, desired, bot)).encode())
    else:
        command = keeper_command(layout)
        private_folder(layout.box)
        write_atomically(layout.config, json.dumps(_config_inside(desired, bot)).encode())
        write_atomically(layout.keeper, json.dumps(_keeper_config(terminal, layout, bot, code)).encode())
        # Windows has no such users; the keeper then says that there is no sandbox.
        if sys.platform != "win32" and os.geteuid() == 0:
            for path in (layout.config, layout.token):
                os.chown(path, user_id(bot.bot_id), 0)
    return roster.start(
        Slot(Role.BOT, desired.terminal_id, bot.bot_id),
        command,
        layout.output,
        bot_fingerprint(desired, bot),
    )


def _config(
    terminal: TerminalLayout, layout: BotLayout, desired: DesiredTerminal, bot: DesiredBot
) -> dict[str, object]:
    return {
        **bot.model_dump(mode="json"),
        "worker": f"unix:{terminal.worker_socket}",
        "token_file": str(layout.token),
        "epoch": desired.epoch,
        "status_file": str(layout.status),
        "log_file": str(layout.log),
    }


def _config_inside(desired: DesiredTerminal, bot: DesiredBot) -> dict[str, object]:
    """The bot's configuration, with the paths that it has inside of its sandbox. What it logs goes to its keeper."""
    assert bot.code is not None
    return {
        **bot.model_dump(mode="json", exclude={"code"}),
        "worker": f"unix:{BRIDGE}",
        "token_file": f"{PRIVATE}/token",
        "epoch": desired.epoch,
        "status_file": f"{BOX}/status.json",
        "log_file": "/proc/self/fd/1",
        "code_folder": CODE,
        "kind": bot.code.kind,
        "entry": bot.code.entry,
    }


def _keeper_config(terminal: TerminalLayout, layout: BotLayout, bot: DesiredBot, code: Path) -> dict[str, object]:
    bridge = terminal.bridge_of(bot.bot_id)
    return {
        "bot_id": bot.bot_id,
        "revision": bot.revision,
        "box": str(layout.box),
        "code": str(code),
        "arguments": ["mt5_bridge.strategies.custom", "--config", f"{PRIVATE}/bot.json"],
        "files": {"bot.json": str(layout.config), "token": str(layout.token), Path(BRIDGE).name: str(bridge)},
        "bridge": str(bridge),
        "worker": str(terminal.worker_socket),
        "status_file": str(layout.status),
        "log_file": str(layout.log),
    }
