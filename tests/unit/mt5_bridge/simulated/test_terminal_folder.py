"""The terminal's folder: start-up file, servers, journal, Market Watch."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mt5_bridge.simulated.market_watch import MarketWatch
from mt5_bridge.simulated.terminal_folder import FolderError, Journal, read_startup, server_address


def _startup(folder: Path, text: str, encoding: str = "utf-8") -> None:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "startup.ini").write_bytes(text.encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_start_up_file_gives_account_and_switches(tmp_path: Path, encoding: str) -> None:
    _startup(
        tmp_path,
        "[Common]\nLogin=5001\nPassword=100%;[x]=\nServer=MT5Farm-Demo\n[Experts]\nAllowLiveTrading=1\nEnabled=0\n",
        encoding,
    )
    startup = read_startup(tmp_path)
    assert startup.credentials is not None
    assert (startup.credentials.login, startup.credentials.server) == (5001, "MT5Farm-Demo")
    assert startup.credentials.password == "100%;[x]="
    assert startup.trade_allowed is False
    assert "100%" not in repr(startup)


def test_without_a_start_up_file_there_is_no_account(tmp_path: Path) -> None:
    assert read_startup(tmp_path).credentials is None


@pytest.mark.parametrize("text", ["nonsense without section", "[Common]\nLogin=abc\nPassword=secret\n"])
def test_an_unreadable_start_up_file_is_said_without_its_secrets(tmp_path: Path, text: str) -> None:
    _startup(tmp_path, text)
    with pytest.raises(FolderError) as caught:
        read_startup(tmp_path)
    assert "secret" not in str(caught.value)


def test_servers_are_found_by_name(tmp_path: Path) -> None:
    assert server_address(tmp_path, "Demo") is None
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "servers.json").write_text('{"Demo": "127.0.0.1:1", "Bad": 5}')
    assert server_address(tmp_path, "Demo") == "127.0.0.1:1"
    assert server_address(tmp_path, "Bad") is None
    (tmp_path / "config" / "servers.json").write_text("cut {")
    assert server_address(tmp_path, "Demo") is None


def test_the_journal_is_a_file_a_day(tmp_path: Path) -> None:
    moments = iter([datetime(2025, 9, 22, 23, 59, 59, 999_000, UTC), datetime(2025, 9, 23, tzinfo=UTC)])
    journal = Journal(tmp_path, lambda: next(moments))
    journal.write("Network", "'5001': authorized on Demo")
    journal.write("Network", "lost", severity=1)
    first, second = sorted((tmp_path / "logs").iterdir())
    assert (first.name, second.name) == ("20250922.log", "20250923.log")
    assert first.read_text() == "MF\t0\t23:59:59.999\tNetwork\t'5001': authorized on Demo\n"
    assert second.read_text().split("\t")[1] == "1"


def test_d7_market_watch_appends_and_remembers(tmp_path: Path) -> None:
    watch = MarketWatch(tmp_path / "watch.json")
    watch.offer(["A", "B", "C"])
    assert watch.selected == ("A", "B", "C")
    watch.set("A", enable=False)
    watch.set("A", enable=False)  # D8: taking out what is out is fine
    watch.set("A", enable=True)
    again = MarketWatch(tmp_path / "watch.json")
    again.offer(["A", "B", "C", "D"])
    assert again.selected == ("B", "C", "A")
    (tmp_path / "watch.json").write_text("[cut")
    fresh = MarketWatch(tmp_path / "watch.json")
    fresh.offer(["A"])
    assert fresh.selected == ("A",)
