"""A handle is plain data that an agent of another version can read, and what it names is ended from it alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node_agent.database import Database
from node_agent.handles import handle_from_data, handle_to_data
from node_agent.process import Children, Ending, Handle, Role, Slot, birth_of, is_alive
from node_agent.roster import Roster
from node_agent.runtimes.installed import kill
from node_agent.state import StateStore

TERMINAL = Slot(Role.TERMINAL, "ter_0000000000000001")
CONTAINER = Handle(TERMINAL, 41, "boot:7", 1000.5, "print", "container", {"id": "c0ffee"})


class Docker:
    """An engine of another kind, which only takes notes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def stop(self, handle: Handle, grace: float) -> None:
        self.asked.append(("stop", handle.facts["id"]))

    def kill(self, handle: Handle) -> None:
        self.asked.append(("kill", handle.facts["id"]))

    def reap(self) -> None:
        self.asked.append(("reap", ""))

    def ending(self, handle: Handle) -> Ending:
        return Ending(137, out_of_memory=True)


def sleeper() -> tuple[subprocess.Popen[bytes], Handle]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    birth = birth_of(process.pid)
    assert birth is not None
    return process, Handle(TERMINAL, process.pid, birth, time.time(), "print")


def test_it_comes_back_whole_from_plain_data() -> None:
    assert handle_from_data(handle_to_data(CONTAINER)) == CONTAINER
    assert handle_to_data(CONTAINER)["v"] == 1


def test_one_of_a_later_version_is_read_by_the_keys_that_stay() -> None:
    later = {**handle_to_data(CONTAINER), "v": 2, "cgroup": "/new"}
    assert handle_from_data(later) == CONTAINER


@pytest.mark.parametrize("broken", [{}, {**handle_to_data(CONTAINER), "role": "ghost"}])
def test_what_is_none_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError)):
        handle_from_data(broken)


def test_the_database_of_an_older_agent_gives_its_handles(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite3"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE handle (role TEXT NOT NULL, owner TEXT NOT NULL, bot_id TEXT NOT NULL, pid INTEGER NOT NULL,"
            " birth TEXT NOT NULL, started_at REAL NOT NULL, fingerprint TEXT NOT NULL,"
            " PRIMARY KEY (role, owner, bot_id))"
        )
        old.execute("INSERT INTO handle VALUES ('terminal', 'ter_0000000000000001', '', 41, 'boot:7', 1000.5, 'print')")
    store = StateStore(Database(path))
    assert store.handles() == [Handle(TERMINAL, 41, "boot:7", 1000.5, "print")]
    store.save_handle(CONTAINER)
    assert store.handles() == [CONTAINER]


def test_each_kind_is_ended_by_its_engine_and_a_recorded_one_by_the_next_agent(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.sqlite3")
    process, handle = sleeper()
    contained = Handle(TERMINAL, handle.pid, handle.birth, handle.started_at, "print", "container", {"id": "c0ffee"})
    Roster(StateStore(database), Children(), time.time, {"container": Docker()}).enter(contained)
    docker = Docker()
    later = Roster(StateStore(database), Children(), time.time, {"container": docker})
    assert later.running(TERMINAL) == contained
    with pytest.raises(TimeoutError):
        later.stop(TERMINAL, 0.0)
    assert docker.asked == [("stop", "c0ffee")], "and it is not believed dead while its process lives"
    process.kill()
    process.wait()
    [ended] = later.exits()
    assert (ended.code, ended.out_of_memory) == (137, True)
    database.close()


def test_a_kind_that_this_agent_does_not_know_is_still_a_process(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.sqlite3")
    process, handle = sleeper()
    roster = Roster(StateStore(database), Children(), time.time)
    roster.enter(Handle(TERMINAL, handle.pid, handle.birth, handle.started_at, "print", "of_tomorrow", {}))
    roster.kill(TERMINAL)
    assert process.wait() == -9
    database.close()


def test_the_handle_alone_is_enough_to_kill() -> None:
    process, handle = sleeper()
    kill(handle_to_data(handle))
    assert process.wait() == -9
    kill(handle_to_data(handle))
    assert not is_alive(handle)
