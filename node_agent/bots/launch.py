"""A bot's configuration file and command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mt5_bridge.auth import BOT_PREFIX, bot_token
from mt5_bridge.sandbox.room import BRIDGE, STANDARD_OUTPUT
from node_agent.bots.quarters import Place, Quarters, Seen
from node_agent.files import private_folder, write_atomically
from node_agent.layout import BotLayout, TerminalLayout
from node_agent.plan import bot_fingerprint
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredBot, DesiredTerminal
from node_agent.roster import Roster


def bot_command(layout: BotLayout, module: str) -> list[str]:
    return [sys.executable, "-m", module, "--config", str(layout.config)]


def keeper_command(quarters: Quarters, terminal: TerminalLayout, bot_id: str) -> list[str]:
    return [sys.executable, "-m", quarters.keeper, "--config", str(quarters.keeper_config(terminal, bot_id))]


def start_bot(
    roster: Roster,
    terminal: TerminalLayout,
    desired: DesiredTerminal,
    bot: DesiredBot,
    module: str,
    quarters: Quarters,
    code: Path | None = None,
) -> Handle:
    """`code` is the folder of what the bot's owner has brought: it runs in a sandbox, in `quarters`.

    Raises OSError, StorageError.
    """
    layout = terminal.bot(bot.bot_id)
    private_folder(layout.root)
    # A status of an earlier run must not pass for one of this run.
    layout.status.unlink(missing_ok=True)
    # Made of the worker's, and of no use for anything but to act as this bot.
    secret = bot_token(terminal.token.read_text().strip(), f"{BOT_PREFIX}{bot.bot_id}")
    if code is None:
        command = bot_command(layout, module)
        write_atomically(layout.token, secret.encode())
        write_atomically(layout.config, json.dumps(_config(terminal, layout, desired, bot)).encode())
    else:
        command = keeper_command(quarters, terminal, bot.bot_id)
        place = quarters.furnish(terminal, bot.bot_id, code)
        write_atomically(place.token, secret.encode())
        write_atomically(place.config, json.dumps(_config_inside(desired, bot, place.seen)).encode())
        write_atomically(place.keeper, json.dumps(_keeper_config(terminal, layout, bot, code, place)).encode())
        quarters.hand_over(place, bot.bot_id)
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


def _config_inside(desired: DesiredTerminal, bot: DesiredBot, seen: Seen) -> dict[str, object]:
    """The bot's configuration, with the paths that it has inside of its sandbox. What it logs goes to its keeper."""
    assert bot.code is not None
    return {
        **bot.model_dump(mode="json", exclude={"code"}),
        "worker": f"unix:{seen.bridge}",
        "token_file": seen.token,
        "epoch": desired.epoch,
        "status_file": str(Path(seen.box) / "status.json"),
        "log_file": STANDARD_OUTPUT,
        "code_folder": seen.code,
        "kind": bot.code.kind,
        "entry": bot.code.entry,
    }


def _keeper_config(
    terminal: TerminalLayout, layout: BotLayout, bot: DesiredBot, code: Path, place: Place
) -> dict[str, object]:
    return {
        **place.facts,
        "bot_id": bot.bot_id,
        "revision": bot.revision,
        "box": str(place.box),
        "code": str(code),
        "arguments": ["mt5_bridge.strategies.custom", "--config", place.seen.config],
        "files": {"bot.json": str(place.config), "token": str(place.token), Path(BRIDGE).name: str(place.bridge)},
        "bridge": str(place.bridge),
        "worker": str(terminal.worker_socket),
        "status_file": str(layout.status),
        "log_file": str(layout.log),
    }
