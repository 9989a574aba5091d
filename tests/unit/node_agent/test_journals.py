"""MT5's own journals are kept for as long as they are told, and nothing else is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent import journals as journals_module
from node_agent.files import remove_inside
from node_agent.journals import Journal, JournalPolicy, remove_journals, superfluous
from node_agent.layout import DataLayout, TerminalLayout

ID = "ter_0000000000000001"
DAY = 86_400.0
NOW = 1_700_000_000.0
POLICY = JournalPolicy(days=30, most_bytes=1000)
journals = st.lists(
    st.builds(
        lambda folder, name, size, age: Journal(Path(folder) / f"{name}.log", size, NOW - age * DAY),
        st.sampled_from(["logs", "MQL5/Logs"]),
        st.integers(0, 99),
        st.integers(0, 600),
        st.floats(0, 90),
    ),
    unique_by=lambda each: each.path,
    max_size=30,
)


@pytest.fixture
def layout(tmp_path: Path) -> DataLayout:
    return DataLayout.open(tmp_path)


def write(path: Path, age: float, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age * DAY,) * 2)
    return path


def terminal_of(layout: DataLayout) -> TerminalLayout:
    return layout.terminal(ID)


@given(journals)
def test_what_stays_is_young_and_fits_or_is_the_newest_of_its_folder(known: list[Journal]) -> None:
    going = superfluous(known, POLICY, NOW)
    staying = [each for each in known if each not in going]
    newest = {each.path.parent: max(e.written for e in known if e.path.parent == each.path.parent) for each in known}
    for folder, written in newest.items():
        assert any(each.written == written for each in staying if each.path.parent == folder)
    free = [each for each in staying if each.written < newest[each.path.parent]]
    assert all(NOW - each.written <= POLICY.days * DAY for each in free)
    assert not free or sum(each.size for each in staying) <= POLICY.most_bytes


@given(journals)
def test_nothing_goes_that_need_not(known: list[Journal]) -> None:
    left = sum(each.size for each in known)
    for each in superfluous(known, POLICY, NOW):
        assert NOW - each.written > POLICY.days * DAY or left > POLICY.most_bytes
        left -= each.size


def test_old_journals_go_and_the_rest_of_the_folder_stays(layout: DataLayout) -> None:
    folder = terminal_of(layout).folder
    old = [write(folder / "logs" / "20231001.log", 44), write(folder / "MQL5" / "Logs" / "20231001.log", 44)]
    kept = [
        write(folder / "logs" / "20231114.log", 0),
        write(folder / "logs" / "20231020.log", 25),
        write(folder / "MQL5" / "Logs" / "20231005.log", 40),  # the newest there
        write(folder / "logs" / "hosting.ini", 400),
        write(folder / "MQL5" / "Files" / "notes.log", 400),
        write(folder / "config" / "accounts.dat", 400),
        write(terminal_of(layout).logs / "worker.log", 400),
    ]
    remove_journals(layout, POLICY, NOW)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in kept)


def test_the_oldest_go_when_all_of_a_terminal_weigh_too_much(layout: DataLayout) -> None:
    logs = terminal_of(layout).folder / "logs"
    files = [write(logs / f"{number}.log", 10 - number, 300) for number in range(6)]
    remove_journals(layout, POLICY, NOW)
    assert [path.exists() for path in files] == [False, False, False, True, True, True]


@pytest.mark.skipif(os.name != "posix", reason="links without a right of their own")
def test_what_links_lead_to_stays(layout: DataLayout, tmp_path_factory: pytest.TempPathFactory) -> None:
    host = tmp_path_factory.mktemp("host")
    precious = [write(host / "Logs" / f"{number}.log", 400 - number, 5000) for number in range(3)]
    folder = terminal_of(layout).folder
    journals = folder / "MQL5" / "Logs"
    journals.mkdir(parents=True)
    (folder / "logs").symlink_to(host / "Logs")
    for path in precious:
        (journals / path.name).symlink_to(path)
    remove_journals(layout, POLICY, NOW)
    journals.rename(folder / "aside")
    (folder / "MQL5").rmdir()
    (folder / "MQL5").symlink_to(host)  # a folder on the way
    remove_journals(layout, POLICY, NOW)
    assert [path.stat().st_size for path in precious] == [5000] * 3


def test_one_that_cannot_be_removed_does_not_keep_the_others(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = terminal_of(layout).folder
    stuck, goes = write(folder / "logs" / "1.log", 91), write(folder / "logs" / "2.log", 90)
    write(folder / "logs" / "3.log", 0)

    def unlink(root: Path, path: Path) -> None:
        if path == stuck:
            raise PermissionError("in use")  # as on Windows, where somebody reads it
        remove_inside(root, path)

    monkeypatch.setattr(journals_module, "remove_inside", unlink)
    remove_journals(layout, POLICY, NOW)
    assert stuck.exists()
    assert not goes.exists()
