"""Collected logs: what is in them, how much, and that they arrive."""

from __future__ import annotations

import asyncio
import os
import random
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from node_agent import files
from node_agent.bundles import deliver_bundles, pack_logs
from node_agent.control_link import ControlLink
from node_agent.files import open_inside
from node_agent.identity import make_keys
from node_agent.layout import DataLayout, TerminalLayout

ID = "ter_0000000000000001"
KEYS = make_keys()


@pytest.fixture
def layout(tmp_path: Path) -> DataLayout:
    return DataLayout.open(tmp_path)


def write(path: Path, content: bytes, age: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))


def fill(terminal: TerminalLayout) -> None:
    write(terminal.logs / "bridge.log", b"bridge")
    write(terminal.folder / "logs" / "20260105.log", b"journal")
    write(terminal.folder / "MQL5" / "Logs" / "20260105.log", b"experts")
    write(terminal.bots / "bot_1" / "bot.log", b"bot")
    write(terminal.bots / "bot_1" / "token", b"secret")
    write(terminal.startup, b"password")
    write(terminal.token, b"secret")


def names(path: Path) -> list[str]:
    with tarfile.open(path) as bundle:
        return bundle.getnames()


def test_holds_every_log_and_no_secret(layout: DataLayout) -> None:
    fill(layout.terminal(ID))
    (layout.terminal(ID).logs / "link").symlink_to(layout.terminal(ID).token)
    assert sorted(names(pack_logs(layout, ID, "r1"))) == [
        "bots/bot_1/bot.log",
        "folder/MQL5/Logs/20260105.log",
        "folder/logs/20260105.log",
        "logs/bridge.log",
    ]


@pytest.mark.skipif(os.name != "posix", reason="links without a right of their own")
def test_what_a_terminal_has_linked_to_is_not_read(layout: DataLayout, tmp_path: Path) -> None:
    write(layout.identity, b"private key")
    folder = layout.terminal(ID).folder / "MQL5"
    folder.mkdir(parents=True)
    (folder / "Logs").symlink_to(layout.root)
    assert names(pack_logs(layout, ID, "r1")) == []
    (folder / "Logs").unlink()
    (folder / "Logs").mkdir()
    os.mkfifo(folder / "Logs" / "pipe.log")
    assert names(pack_logs(layout, ID, "r2")) == []


@pytest.mark.skipif(os.name != "posix", reason="links without a right of their own")
def test_a_folder_that_became_a_link_after_it_was_looked_at_is_not_followed(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = layout.terminal(ID)
    write(terminal.root.parent / "other" / "x.log", b"of another one")
    terminal.root.mkdir(parents=True, exist_ok=True)
    terminal.logs.symlink_to(terminal.root.parent / "other")
    for look_first in (True, False):
        if not look_first:
            monkeypatch.setattr(files, "_stay_inside", after_the_first(files._stay_inside))
        with pytest.raises(OSError, match="leads out"):
            open_inside(terminal.root, terminal.logs / "x.log")


def after_the_first(check: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """Let the first look find nothing."""
    looks = iter([False])

    def look(root: Path, path: Path) -> None:
        if next(looks, True):
            check(root, path)

    return look


def test_holds_the_end_of_each_file_and_the_newest_files_when_there_is_too_much(layout: DataLayout) -> None:
    noise = random.Random(1)
    for day in range(4):
        write(layout.terminal(ID).logs / f"{day}.log", noise.randbytes(5 * 1024 * 1024) + b"the end", age=day * 86400.0)
    most = 9 * 1024 * 1024
    path = pack_logs(layout, ID, "r1", most)
    assert path.stat().st_size <= most
    with tarfile.open(path) as bundle:
        assert bundle.getnames() == ["logs/0.log", "logs/1.log"]
        first = bundle.extractfile("logs/0.log")
        assert first is not None
        assert first.read().endswith(b"the end")


def test_an_id_of_any_shape_stays_inside_the_folder(layout: DataLayout) -> None:
    fill(layout.terminal(ID))
    assert pack_logs(layout, ID, "../../etc/x").parent == layout.bundles


def test_only_so_many_wait(layout: DataLayout) -> None:
    fill(layout.terminal(ID))
    for number in range(25):
        pack_logs(layout, ID, f"r{number}")
    assert len(list(layout.bundles.iterdir())) == 20


@pytest.mark.parametrize("refused", [False, True])
def test_a_bundle_waits_through_an_outage_and_leaves_the_disk_when_it_was_taken_or_refused(
    layout: DataLayout, refused: bool
) -> None:
    fill(layout.terminal(ID))
    pack_logs(layout, ID, "r1")
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) == 1:
            return httpx.Response(503)
        return httpx.Response(404, json={"code": "not_found"}) if refused else httpx.Response(204)

    async def go() -> None:
        client = httpx.AsyncClient(base_url="https://plane", transport=httpx.MockTransport(answer))
        task = asyncio.create_task(
            deliver_bundles(ControlLink(client, "nod_1", KEYS, time.time), layout, interval=0.01)
        )
        async with asyncio.timeout(10):
            while list(layout.bundles.iterdir()):  # noqa: ASYNC110 - nothing tells when a file has gone
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(go())
    assert asked == [f"/agent/v1/bundles/{ID}/r1"] * 2
