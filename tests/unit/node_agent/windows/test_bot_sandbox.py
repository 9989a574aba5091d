"""A bot's sandbox on the double of Windows: what is asked of it, and that nothing runs where a piece is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mt5_bridge.sandbox.availability import NoSandboxError
from mt5_bridge.sandbox.keeping import FAILED
from mt5_bridge.sandbox.limits import Limits
from mt5_bridge.sandbox.room import Room
from node_agent.windows import bot_room, isolation
from node_agent.windows.bot_keeper import keeper_of
from node_agent.windows.bot_sandbox import WindowsSandbox
from node_agent.windows.port import JobLimits
from tests.conformance.windows.waiting import eventually
from tests.windows_double import OWNER, FakeWindows

USER = "S-1-5-21-1-1-1-1000"
RAN = "import pathlib; pathlib.Path('ran').touch()\n"
WAITS = "import time; print('begins', flush=True); time.sleep(600)\n"


class Stage:
    """A room whose code is one module, `mine`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "rooms" / "ter_1" / "bot_1"
        self.box = self.root / "box"
        for name in ("shown", "code", "box"):
            (self.root / name).mkdir(parents=True)
        (self.root / "keeper.json").write_text("{}")
        self.windows = FakeWindows()
        self.lines: list[str] = []
        self.job = bot_room.job_name(self.root)
        self.user = bot_room.user_name(self.root)

    def sandbox(self, source: str, limits: Limits | None = None) -> WindowsSandbox:
        """Its module lies in the library, since the box and its parents are no place to import from."""
        (self.box / "mine.py").write_text(source)
        run = ["runpy_mine", str(self.box / "mine.py")]
        room = Room("bot_1", self.box, run, limits or Limits(), self.root / "code")
        return WindowsSandbox(room, lambda line: self.lines.append(line.decode()), self.windows)

    @property
    def ran(self) -> bool:
        return (self.box / "ran").exists()

    def pids(self) -> tuple[int, ...]:
        stats = self.windows.job_stats(self.job)
        return stats.processes if stats else ()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    # Not tmp_path: the relay's socket lies in it, and its path must be short.
    folder = Path(tempfile.mkdtemp(prefix="m5w", dir="/tmp"))
    (folder / "runpy_mine.py").write_text("import runpy, sys\nrunpy.run_path(sys.argv[1], run_name='__main__')\n")
    real = bot_room.environment

    def with_mine(windows: str, box: Path, library: Path) -> dict[str, str]:
        made = real(windows, box, library)
        return made | {"PYTHONPATH": os.pathsep.join((made["PYTHONPATH"], str(folder)))}

    monkeypatch.setattr(bot_room, "environment", with_mine)
    made = Stage(folder)
    yield made
    made.windows.refused.clear()
    made.windows.terminate_job(made.job)
    shutil.rmtree(folder)


def test_it_runs_as_a_user_of_the_bots_group_in_a_job_without_network(stage: Stage) -> None:
    sandbox = stage.sandbox(WAITS)
    sandbox.start()
    eventually(lambda: stage.lines == ["begins"])
    ((name, (password, groups)),) = stage.windows.users.items()
    assert (name, groups) == (stage.user, ("mt5farm-bots",))
    assert len(name) <= 20
    assert stage.windows.blocked == [("MT5 Farm bots", "mt5farm-bots")]
    cores, processes = os.cpu_count() or 1, 1 if sys.prefix == sys.base_prefix else 2
    assert stage.windows.job_limits(stage.job) == JobLimits(512 << 20, 100 / cores, processes, confined=True)
    assert sandbox.look() is None
    assert password in stage.windows.passwords_used
    for path in stage.root.rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()
    sandbox.kill()


def test_rights_leave_it_its_box_to_write_to_and_its_code_to_read(stage: Stage) -> None:
    sandbox = stage.sandbox(WAITS)
    sandbox.start()
    reads = isolation.program_rights(OWNER, USER)
    assert stage.windows.given_rights == {
        stage.root / "shown": reads,
        stage.root / "code": reads,
        stage.box: f"{isolation.shared_rights(OWNER, USER)}(A;OICI;RC;;;OW)",
    }
    sandbox.kill()


def test_it_has_an_environment_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT5FARM_SECRET", "of-the-agent")
    sandbox = stage.sandbox("import os; print(sorted(os.environ)); print(os.environ['TEMP'])")
    sandbox.start()
    eventually(lambda: sandbox.poll() is not None and len(stage.lines) == 2)
    assert "MT5FARM_SECRET" not in stage.lines[0]
    assert stage.lines[1] == str(stage.box)
    sandbox.kill()


@pytest.mark.parametrize(
    "call",
    [
        "processes_of",
        "filters_network",
        "block_network",
        "ensure_user",
        "set_rights",
        "make_job",
        "launch_confined",
        "terminate_job",
    ],
)
def test_where_windows_refuses_a_piece_nothing_runs(stage: Stage, call: str) -> None:
    sandbox = stage.sandbox(RAN)
    stage.windows.refused[call] = 5
    with pytest.raises(NoSandboxError) as refused:
        sandbox.start()
    assert call in str(refused.value)
    assert "docs/windows.md" in str(refused.value)
    assert not stage.ran
    assert stage.pids() == ()
    assert stage.windows.users == {}


def test_where_the_firewall_is_off_nothing_runs(stage: Stage) -> None:
    sandbox = stage.sandbox(RAN)
    stage.windows.firewall_on = False
    with pytest.raises(NoSandboxError, match="switch it on"):
        sandbox.start()
    assert not stage.ran
    assert stage.windows.passwords_used == []


def test_a_room_that_does_not_hold_whatever_windows_said_runs_none_of_its_code(stage: Stage) -> None:
    """The real first program: nothing is refused to it here, as on a Windows whose rules have no effect."""
    stage.windows.rooms_hold = False
    sandbox = stage.sandbox(RAN)
    with pytest.raises(NoSandboxError) as refused:
        sandbox.start()
    for found in ("its keeper's can be read", "its code can be written to", "network", "programs can be started"):
        assert found in str(refused.value)
    assert not stage.ran
    assert stage.pids() == ()
    assert stage.windows.users == {}


def test_it_is_stopped_within_two_seconds_with_all_that_it_has_started(stage: Stage) -> None:
    source = "import signal, subprocess\nsignal.signal(15, signal.SIG_IGN)\nsubprocess.Popen(['/bin/sleep', '600'])\n"
    sandbox = stage.sandbox(f"{source}print('begins', flush=True)\nwhile True: pass\n")
    sandbox.start()
    eventually(lambda: stage.lines == ["begins"] and len(stage.pids()) == 2)
    running = stage.pids()
    began = time.monotonic()
    sandbox.stop(1.3)
    assert time.monotonic() - began < 2.0
    eventually(lambda: not any(stage.windows.key_of(pid) for pid in running))
    assert stage.windows.users == {}


def test_it_has_less_of_the_processor_once_its_savings_are_used_up(stage: Stage) -> None:
    limits = replace(Limits(), cpu_share=0.25, cpu_burst=8.0)
    sandbox = stage.sandbox(WAITS, limits)
    sandbox.start()
    cores = os.cpu_count() or 1
    slowed = []
    for used in (0.0, 9.0):
        stage.windows.cpu_seconds += used
        assert sandbox.look() is None
        slowed.append(sandbox.slowed)
    assert slowed == [False, True]
    held_down = stage.windows.job_limits(stage.job)
    assert held_down == bot_room.job_limits(
        limits, cores, bot_room.processes_of_python(sys.prefix, sys.base_prefix), slowed=True
    )
    assert held_down.cpu_percent == 25.0 / cores
    assert len(stage.pids()) == 1, "it runs on"
    sandbox.kill()


@pytest.mark.parametrize(
    ("source", "limits", "words"),
    [
        ("open('large', 'wb').write(b'x' * 200_000)", replace(Limits(), folder_size=100_000), "MB of files"),
        ("for n in range(9): open(str(n), 'w')", replace(Limits(), folder_entries=5), "more than 5 files"),
        ("", replace(Limits(), wall_clock=0.0), "did not finish"),
    ],
)
def test_more_than_its_share_is_told_and_cleared_away(stage: Stage, source: str, limits: Limits, words: str) -> None:
    sandbox = stage.sandbox(f"{source}\n{WAITS}", limits)
    sandbox.start()
    eventually(lambda: stage.lines == ["begins"])
    eventually(lambda: words in (sandbox.look() or ""))
    sandbox.kill()
    if limits.wall_clock is None:
        assert list(stage.box.iterdir()) == []


def test_it_does_not_outlive_the_firewall(stage: Stage) -> None:
    sandbox = stage.sandbox(WAITS)
    sandbox.start()
    stage.windows.firewall_on = False
    told = [sandbox.look() for _ in range(300)]
    assert told[0] is None
    assert told[-1] == "The firewall of its node was switched off, so it was ended."
    sandbox.kill()


def test_what_it_has_had_started_outside_of_its_job_ends_it_and_is_ended(stage: Stage) -> None:
    sandbox = stage.sandbox(WAITS)
    sandbox.start()
    assert sandbox.look() is None
    with subprocess.Popen(["/bin/sleep", "600"]) as stray:
        stage.windows.strays[stage.user] = [stray.pid]
        told = [sandbox.look() for _ in range(5)]
        assert told[-1] == "It had a program started outside of its sandbox, so it was ended."
        sandbox.kill()
        assert stray.wait(5.0) != 0
    assert stage.windows.users == {}


def test_one_that_cannot_be_watched_is_to_be_ended(stage: Stage) -> None:
    sandbox = stage.sandbox(WAITS)
    sandbox.start()
    stage.windows.refused["make_job"] = 5
    stage.windows.cpu_seconds += 100.0
    assert "can no longer be watched" in str(sandbox.look())
    sandbox.kill()


class Kept:
    """A keeper in a thread, as the agent starts it as a process."""

    def __init__(self, stage: Stage, source: str, own_users: bool = True) -> None:
        (stage.box / "mine.py").write_text(source)
        self.status, self.log = stage.root / "status.json", stage.root / "bot.log"
        config = {
            "bot_id": "bot_1",
            "revision": 4,
            "box": str(stage.box),
            "code": str(stage.root / "code"),
            "arguments": ["runpy_mine", str(stage.box / "mine.py")],
            "files": {},
            "bridge": str(stage.root / "shown" / "bridge"),
            "worker": str(stage.root / "worker"),
            "status_file": str(self.status),
            "log_file": str(self.log),
            "own_users": own_users,
        }
        self.keeper = keeper_of(config, stage.windows)
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(self.keeper.run()))
        self.thread.start()

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


def test_what_it_prints_and_says_of_itself_goes_through_its_keeper(stage: Stage) -> None:
    status = {"phase": "running", "detail": "fine", "at": "now", "revision": 99}
    line = json.dumps({"level": "warning", "text": "told"})
    source = f"import time\nopen('status.json', 'w').write({json.dumps(status)!r})\nprint({line!r}, flush=True)\n"
    kept = Kept(stage, f"{source}time.sleep(600)\n")
    eventually(lambda: '"text": "told"' in kept.said())
    eventually(kept.status.exists)
    assert json.loads(kept.status.read_text()) == {**status, "revision": 4}
    kept.keeper.stop()
    kept.thread.join(5.0)
    assert kept.codes == [0]
    assert stage.pids() == ()
    assert stage.windows.users == {}


@pytest.mark.parametrize("piece", ["own_users", "room"])
def test_a_refused_bot_is_not_started_again_and_its_owner_told_why(stage: Stage, piece: str) -> None:
    stage.windows.rooms_hold = piece != "room"
    kept = Kept(stage, RAN, own_users=piece != "own_users")
    kept.thread.join(20.0)
    assert kept.codes == [FAILED]
    status = json.loads(kept.status.read_text())
    assert (status["phase"], status["revision"]) == ("failed", 4)
    assert "Custom code runs" in status["detail"]
    assert json.loads(kept.said())["text"] == status["detail"]
    assert str(stage.root) not in status["detail"], "paths of the node are no business of the bot's owner"
    assert not stage.ran
