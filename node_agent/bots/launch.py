"""A bot's configuration file and command line."""

from __future__ import annotations

import json
import sys

from mt5_bridge.auth import BOT_PREFIX, bot_token
from node_agent.files import private_folder, write_atomically
from node_agent.layout import BotLayout, TerminalLayout
from node_agent.plan import bot_fingerprint
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredBot, DesiredTerminal
from node_agent.roster import Roster


def bot_command(layout: BotLayout, module: str) -> list[str]:
    return [sys.executable, "-m", module, "--config", str(layout.config)]


def start_bot(
    roster: Roster, terminal: TerminalLayout, desired: DesiredTerminal, bot: DesiredBot, module: str
) -> Handle:
    """Raises OSError, StorageError."""
    layout = terminal.bot(bot.bot_id)
    private_folder(layout.root)
    # A status of an earlier run must not pass for one of this run.
    layout.status.unlink(missing_ok=True)
    # Made of the worker's, and of no use for anything but to act as this bot.
    secret = bot_token(terminal.token.read_text().strip(), f"{BOT_PREFIX}{bot.bot_id}")
    write_atomically(layout.token, secret.encode())
    write_atomically(layout.config, json.dumps(_config(terminal, layout, desired, bot)).encode())
    return roster.start(
        Slot(Role.BOT, desired.terminal_id, bot.bot_id),
        bot_command(layout, module),
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
