"""Children are found by pid and birth, stopped for sure, and never mistaken for strangers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.database import Database
from node_agent.errors import StorageError
from node_agent.process import Children, Handle, Role, Slot, birth_of, is_alive
from node_agent.roster import Candidate, Roster
from node_agent.state import StateStore

SLOT = Slot(Role.WORKER, "ter_0000000000000001")
SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)",
]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@pytest.fixture
def roster(tmp_path: Path) -> Iterator[Roster]:
    database = Database(tmp_path / "agent.sqlite3")
    made = Roster(StateStore(database), Children(), time.time)
    yield made
    for handle in made.of(SLOT.owner):
        made.kill(handle.slot)
    database.close()


def test_a_started_process_has_a_session_of_its_own_and_a_recorded_handle(roster: Roster, tmp_path: Path) -> None:
    handle = roster.start(SLOT, SLEEPER, tmp_path / "out", "print")
    assert os.getsid(handle.pid) == handle.pid
    database = Database(tmp_path / "agent.sqlite3")
    later = Roster(StateStore(database), Children(), time.time)
    assert later.running(SLOT) == handle
    database.close()


def test_a_pid_with_another_birth_is_a_stranger(roster: Roster, tmp_path: Path) -> None:
    handle = roster.start(SLOT, SLEEPER, tmp_path / "out", "print")
    stranger = replace(handle, birth=handle.birth + "9")
    assert is_alive(handle)
    assert not is_alive(stranger)
    Children().stop(stranger, 1.0)
    assert is_alive(handle), "a stranger is not touched"


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    until(lambda: birth_of(process.pid) is None)
    process.wait()


def test_an_exit_is_told_once_with_its_code_and_a_wanted_end_never(roster: Roster, tmp_path: Path) -> None:
    handle = roster.start(SLOT, [sys.executable, "-S", "-c", "raise SystemExit(3)"], tmp_path / "out", "print")
    until(lambda: not is_alive(handle))
    assert [(ended.handle.pid, ended.code) for ended in roster.exits()] == [(handle.pid, 3)]
    assert roster.exits() == []
    roster.start(SLOT, SLEEPER, tmp_path / "out", "print")
    roster.stop(SLOT, 3.0)
    assert roster.running(SLOT) is None
    assert roster.exits() == []


def test_a_process_that_ignores_term_is_killed(roster: Roster, tmp_path: Path) -> None:
    handle = roster.start(SLOT, STUBBORN, tmp_path / "out", "print")
    until(lambda: (tmp_path / "out").read_text().startswith("on"))
    roster.stop(SLOT, 0.2)
    assert not is_alive(handle)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_process_that_survives_even_kill_is_not_called_ended(tmp_path: Path, how: str) -> None:
    class Powerless(Children):
        def stop(self, handle: Handle, grace: float) -> None:
            pass

        def kill(self, handle: Handle) -> None:
            pass

    database = Database(tmp_path / "agent.sqlite3")
    roster = Roster(StateStore(database), Powerless(), time.time)
    handle = roster.start(SLOT, SLEEPER, tmp_path / "out", "print")
    with pytest.raises(TimeoutError):
        roster.stop(SLOT, 0.1) if how == "stop" else roster.kill(SLOT)
    roster.stop_all([SLOT], 0.1)
    assert roster.running(SLOT) == handle
    assert StateStore(database).handles() == [handle]
    Children().kill(handle)
    database.close()


def test_the_end_of_a_process_does_not_erase_the_record_of_its_successor(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.sqlite3")
    state = StateStore(database)
    first = Handle(SLOT, 10, "boot:1", 0.0, "print")
    second = replace(first, pid=11, birth="boot:2")
    state.save_handle(first)
    state.save_handle(second)
    state.drop_handle(first)
    assert state.handles() == [second]
    database.close()


def test_a_process_that_cannot_be_recorded_does_not_stay(tmp_path: Path) -> None:
    class Full(StateStore):
        pid = 0

        def save_handle(self, handle: Handle) -> None:
            Full.pid = handle.pid
            raise StorageError("the disk is full")

    database = Database(tmp_path / "agent.sqlite3")
    roster = Roster(Full(database), Children(), time.time)
    with pytest.raises(StorageError):
        roster.start(SLOT, SLEEPER, tmp_path / "out", "print")
    assert birth_of(Full.pid) is None
    database.close()


def test_an_orphan_is_recognised_by_its_command_line(roster: Roster, tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)", str(tmp_path)]
    orphan = subprocess.Popen(command, start_new_session=True)
    try:
        other = Candidate(Slot(Role.BOT, "ter_x", "bot_x"), (*command, "other"))
        # The child is still this test until it has become the command.
        until(lambda: bool(roster.adopt([Candidate(SLOT, tuple(command)), other])))
        found = roster.running(SLOT)
        assert found is not None
        assert found.pid == orphan.pid
        assert roster.running(other.slot) is None
    finally:
        orphan.send_signal(signal.SIGKILL)
        orphan.wait()
