"""The portable folder: MetaTrader's program is shared and the terminal's data is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.protocol.sealing import Credentials
from node_agent.terminal.folder import OWN_FOLDERS, lay_out
from node_agent.terminal.startup import startup_file


def template(root: Path, build: str) -> Path:
    made = root / build
    (made / "Config").mkdir(parents=True)
    (made / "MQL5" / "Experts").mkdir(parents=True)
    (made / "terminal64.exe").write_text(build)
    (made / "Config" / "servers.dat").write_text(f"servers of {build}")
    (made / "MQL5" / "Experts" / "sample.ex5").write_text(build)
    return made


def test_the_program_costs_no_room_and_the_data_is_a_copy(tmp_path: Path) -> None:
    source = template(tmp_path, "old")
    own = lay_out(tmp_path / "folder", source, "1")
    assert (tmp_path / "folder" / "terminal64.exe").samefile(source / "terminal64.exe")
    assert not (tmp_path / "folder" / "MQL5" / "Experts" / "sample.ex5").samefile(source / "MQL5/Experts/sample.ex5")
    assert {path.name.lower() for path in own} == {name.lower() for name in OWN_FOLDERS}


def test_another_build_brings_its_program_and_servers_and_keeps_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    lay_out(folder, template(tmp_path, "old"), "1")
    (folder / "MQL5" / "Files").mkdir()
    (folder / "MQL5" / "Files" / "mine.csv").write_text("mine")
    (folder / "left.dll").touch()
    lay_out(folder, template(tmp_path, "new"), "2")
    assert (folder / "terminal64.exe").read_text() == "new"
    assert (folder / "Config" / "servers.dat").read_text() == "servers of new"
    assert (folder / "MQL5" / "Files" / "mine.csv").read_text() == "mine"
    assert not (folder / "left.dll").exists()
    assert (tmp_path / "old" / "terminal64.exe").read_text() == "old", "the template itself is never touched"


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    folder, source = tmp_path / "folder", template(tmp_path, "old")
    lay_out(folder, source, "1")
    (folder / "Config" / "servers.dat").write_text("grown")
    lay_out(folder, source, "1")
    assert (folder / "Config" / "servers.dat").read_text() == "grown"


def test_one_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    folder, source = tmp_path / "folder", template(tmp_path, "old")
    folder.mkdir()
    (folder / "terminal64.exe").write_text("half")
    lay_out(folder, source, "1")
    assert (folder / "terminal64.exe").read_text() == "old"


def test_links_that_a_terminal_has_laid_are_replaced_and_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    outside.write_text("untouched")
    lay_out(folder, template(tmp_path, "old"), "1")
    (folder / "Config" / "servers.dat").unlink()
    (folder / "Config" / "servers.dat").symlink_to(outside)
    lay_out(folder, template(tmp_path, "new"), "2")
    assert outside.read_text() == "untouched"
    assert (folder / "Config" / "servers.dat").read_text() == "servers of new"


def test_the_start_up_file_logs_in_and_switches_algo_trading_on() -> None:
    text = startup_file(Credentials(login=77, password="p=a;s%s", server="B-Live")).decode("ascii")
    lines = text.split("\r\n")
    assert {"Login=77", "Password=p=a;s%s", "Server=B-Live", "Enabled=1", "AllowLiveTrading=1"} <= set(lines)


def test_other_letters_come_in_utf_16_with_its_mark() -> None:
    content = startup_file(Credentials(login=77, password="пароль", server="B-Live"))
    assert content.startswith(b"\xff\xfe")
    assert "Password=пароль\r\n" in content.decode("utf-16")


@pytest.mark.parametrize("password", ["a\nEnabled=0", "a\r", "a\0", " a", "a ", '"a"', "'a'"])
def test_what_windows_would_read_otherwise_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        startup_file(Credentials(login=77, password=password, server="B-Live"))
