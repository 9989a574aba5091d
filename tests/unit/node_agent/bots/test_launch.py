"""How a bot is started: code of a user by a keeper, which refuses it where there is no sandbox."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from node_agent import shutdown
from node_agent.bots.launch import start_bot
from node_agent.bots.quarters import LinuxQuarters, Quarters
from node_agent.clock import system_clock
from node_agent.layout import DataLayout, TerminalLayout
from node_agent.protocol.messages import CodeRef, DesiredBot
from node_agent.windows import bot_room
from node_agent.windows.bot_quarters import WindowsQuarters
from node_agent.windows.port import JobLimits
from tests.unit.node_agent.wishes import ID, wish
from tests.windows_double import OWNER, FakeWindows

BOT = "bot_0000000000000001"


class Recorder:
    """Starts nothing."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def start(self, _slot: object, command: list[str], *_: object) -> None:
        self.commands.append(command)


class Node:
    """A terminal's folder and a bot with code for it."""

    def __init__(self, data: Path, quarters: Quarters) -> None:
        self.quarters = quarters
        self.terminal = TerminalLayout(data / "terminals" / ID, data / "run")
        self.terminal.root.mkdir(parents=True)
        self.terminal.token.write_text("local-secret-0123456789")
        self.code = data / "code" / "digest"
        self.code.mkdir(parents=True)
        (self.code / "mine.py").write_text("first")

    def start(self) -> dict[str, Any]:
        """The keeper's configuration, with the module that is started."""
        code = CodeRef(sha256="0" * 64, size=1, kind="strategy", entry="mine.py")
        values: dict[str, Any] = {"strategy": "s", "symbol": "EURUSD", "timeframe": "M1", "volume": 0.1}
        bot = DesiredBot(bot_id=BOT, revision=1, magic=1, parameters={}, code=code, **values)
        roster: Any = Recorder()
        start_bot(roster, self.terminal, wish(bots=[bot]), bot, "unused", self.quarters, self.code)
        ((*_, module, _config, path),) = roster.commands
        config: dict[str, Any] = json.loads(Path(path).read_text())
        return {"module": module, **config}


@pytest.fixture
def windows() -> FakeWindows:
    return FakeWindows()


@pytest.fixture
def node(tmp_path: Path, windows: FakeWindows) -> Node:
    return Node(tmp_path, WindowsQuarters(windows, own_users=True))


def test_on_linux_it_lies_beside_its_terminal_and_sees_other_paths(tmp_path: Path) -> None:
    node = Node(tmp_path, LinuxQuarters())
    keeper = node.start()
    assert keeper["module"] == "mt5_bridge.sandbox.keeper"
    assert keeper["code"] == str(node.code)
    layout = node.terminal.bot(BOT)
    inside = json.loads(layout.config.read_text())
    assert (inside["code_folder"], inside["log_file"], inside["token_file"]) == ("/code", "-", "/run/bot/token")
    assert set(keeper["files"]) == {"bot.json", "token", "bridge"}
    node.quarters.clear(node.terminal, BOT)
    node.quarters.demolish(node.terminal)
    assert layout.config.exists()


def test_on_windows_it_has_a_room_where_its_terminal_s_user_has_no_rights(node: Node, windows: FakeWindows) -> None:
    keeper = node.start()
    assert (keeper["module"], keeper["own_users"]) == ("node_agent.windows.bot_keeper", True)
    room = node.terminal.room(BOT)
    assert node.terminal.root not in room.root.parents
    inside = json.loads((room.shown / "bot.json").read_text())
    assert (inside["token_file"], inside["worker"]) == (str(room.shown / "token"), f"unix:{room.shown / 'bridge'}")
    assert (inside["code_folder"], inside["status_file"]) == (str(room.code), str(room.box / "status.json"))
    assert keeper["arguments"][-1] == str(room.shown / "bot.json")
    assert not node.terminal.bot(BOT).token.exists(), "its terminal's user could read it there"
    # What the keeper writes to with the agent's rights is closed to the terminal's user as well.
    assert windows.given_rights == {node.terminal.bots: bot_room.farm_rights(OWNER)}


def test_it_gets_a_copy_of_its_code_that_is_no_other_s(node: Node) -> None:
    node.start()
    (node.code / "mine.py").write_text("second")
    (node.terminal.room(BOT).code / "left.py").touch()
    node.start()
    (copied,) = node.terminal.room(BOT).code.iterdir()
    assert copied.read_text() == "second"
    assert not copied.samefile(node.code / "mine.py")


def test_a_folder_that_was_made_a_link_starts_nothing(node: Node, tmp_path: Path) -> None:
    node.terminal.bots.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (node.terminal.bots / "bot_0000000000000002").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="become a link"):
        node.start()


def test_a_folder_that_cannot_be_closed_starts_nothing(node: Node, windows: FakeWindows) -> None:
    windows.refused["set_rights"] = 5
    with pytest.raises(OSError, match="cannot be closed"):
        node.start()


@pytest.mark.parametrize("how", ["clear", "demolish"])
def test_what_has_ended_leaves_no_user_and_no_job(node: Node, windows: FakeWindows, how: str) -> None:
    node.start()
    room = node.terminal.room(BOT).root
    windows.ensure_user(bot_room.user_name(room), "secret", ())
    windows.make_job(bot_room.job_name(room), JobLimits(confined=True))
    if how == "clear":
        node.quarters.clear(node.terminal, BOT)
        assert node.terminal.room(BOT).box.is_dir(), "a strategy's state outlives a stop"
    else:
        node.quarters.demolish(node.terminal)
        assert not node.terminal.rooms.exists()
        node.quarters.demolish(node.terminal)
    assert windows.users == {}
    assert windows.jobs == {}


def test_a_room_of_folders_in_each_other_goes_with_its_terminal(node: Node) -> None:
    node.start()
    deep = os.open(node.terminal.room(BOT).box, os.O_RDONLY)
    for _ in range(600):  # longer than any path may be
        os.mkdir("d" * 20, dir_fd=deep)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    node.quarters.demolish(node.terminal)
    assert not node.terminal.rooms.exists()


def test_a_node_that_is_shut_down_has_no_users_of_bots_left(
    tmp_path: Path, windows: FakeWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = DataLayout.open(tmp_path / "data")
    node = Node(layout.root, WindowsQuarters(windows, own_users=True))
    monkeypatch.setattr(shutdown, "installed_quarters", lambda settings: node.quarters)
    node.start()
    windows.ensure_user(bot_room.user_name(node.terminal.room(BOT).root), "secret", ())
    assert shutdown.stop_everything(layout, 1.0, system_clock) == 0
    assert windows.users == {}


def test_a_user_that_cannot_be_removed_keeps_nobody_from_stopping(node: Node, windows: FakeWindows) -> None:
    node.start()
    windows.refused["terminate_job"] = 5
    node.quarters.clear(node.terminal, BOT)


def test_a_bot_without_a_room_has_none_to_clear(node: Node, windows: FakeWindows) -> None:
    shutil.rmtree(node.terminal.rooms, ignore_errors=True)
    windows.refused["terminate_job"] = 5
    node.quarters.clear(node.terminal, BOT)
