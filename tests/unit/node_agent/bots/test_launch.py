"""How a bot is started: code of a user by its keeper, which refuses it where there is no sandbox."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from node_agent.bots.launch import start_bot
from node_agent.layout import TerminalLayout
from node_agent.protocol.messages import CodeRef, DesiredBot
from tests.unit.node_agent.wishes import ID, wish

BOT = "bot_0000000000000001"


class Recorder:
    """Starts nothing."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def start(self, _slot: object, command: list[str], *_: object) -> None:
        self.commands.append(command)


def test_on_windows_code_of_a_user_is_given_to_its_keeper_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "geteuid")
    layout = TerminalLayout(tmp_path / ID, tmp_path)
    layout.root.mkdir()
    layout.token.write_text("local-secret-0123456789")
    code = CodeRef(sha256="0" * 64, size=1, kind="strategy", entry="mine.py")
    bot = DesiredBot(
        bot_id=BOT,
        revision=1,
        strategy="s",
        symbol="EURUSD",
        timeframe="M1",
        volume=0.1,
        magic=1,
        parameters={},
        code=code,
    )
    roster: Any = Recorder()
    start_bot(roster, layout, wish(bots=[bot]), bot, "unused", tmp_path / "code")
    ((*_, module, _config, path),) = roster.commands
    assert module == "mt5_bridge.sandbox.keeper"
    assert json.loads(Path(path).read_text())["bot_id"] == BOT
