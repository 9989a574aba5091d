"""Programs of strangers, and a bot's sandbox of them: on Windows' own calls under Wine, on their double elsewhere.

Wine confines nothing: what these tests show there is that the calls are made as Windows documents them, and that a bot
does not run where they have no effect.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mt5_bridge.sandbox.availability import NoSandboxError
from mt5_bridge.sandbox.limits import Limits
from mt5_bridge.sandbox.room import Room
from node_agent.windows import bot_room, bot_sandbox
from node_agent.windows.bot_sandbox import WindowsSandbox
from node_agent.windows.port import Confined, JobLimits, ProcessKey, Program, Windows
from tests.conformance.windows.conftest import Stage
from tests.conformance.windows.sign_in import on_wine, signed_in, take_own_token
from tests.conformance.windows.waiting import eventually
from tests.windows_double import FakeWindows

ROOT = Path(__file__).parents[3]
TELLS = "import os, pathlib, sys; print(sorted(os.environ)); print(pathlib.Path.cwd()); sys.exit(7)"
WAITS = "import time; print('begins', flush=True); time.sleep(600)"


@pytest.fixture
def job(windows: Windows) -> Iterator[str]:
    name = f"Global\\mt5farm-test-{secrets.token_hex(6)}"
    windows.make_job(name, JobLimits(memory=256 << 20, processes=2, confined=True))
    yield name
    windows.terminate_job(name)


@pytest.fixture
def user(windows: Windows) -> Iterator[tuple[str, str]]:
    with signed_in(windows) as known:
        yield known


def _start(windows: Windows, job: str, user: tuple[str, str], folder: Path, code: str) -> Confined:
    environment = {"SystemRoot": os.environ.get("SYSTEMROOT", ""), "ONLY": "this"}
    program = Program((sys.executable, "-P", "-c", code), folder, None, environment)
    return windows.launch_confined(program, job, *user)


def test_a_confined_program_has_an_output_and_an_environment_of_its_own(
    windows: Windows, stage: Stage, job: str, user: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT5FARM_SECRET", "of-the-agent")
    started = _start(windows, job, user, stage.folder, TELLS)
    with started.output:
        said = b"".join(iter(lambda: started.output.read(4096), b"")).decode().splitlines()
    assert "'ONLY'" in said[0]
    assert "MT5FARM_SECRET" not in said[0]
    assert Path(said[1]) == stage.folder
    eventually(lambda: windows.exit_code(started.key) == 7)


def test_a_confined_program_is_in_its_job_and_ends_with_it(
    windows: Windows, stage: Stage, job: str, user: tuple[str, str]
) -> None:
    started = _start(windows, job, user, stage.folder, WAITS)
    with started.output:
        assert started.output.readline().strip() == b"begins"
        stats = windows.job_stats(job)
        assert stats is not None
        assert started.key.pid in stats.processes
        began = time.monotonic()
        windows.terminate_job(job)
        eventually(lambda: not windows.is_running(started.key))
        assert time.monotonic() - began < 2.0
        assert started.output.read(1) == b"", "nobody else holds the end that it writes to"


def test_a_file_s_size_is_what_was_written_and_not_what_a_listing_says(windows: Windows, stage: Stage) -> None:
    with (stage.folder / "grows").open("wb", buffering=0) as file:
        for size in (1000, 2000):
            file.write(b"x" * 1000)
            assert windows.size_of(stage.folder / "grows") == size


if sys.platform == "win32":

    def test_a_confined_job_ends_with_the_process_that_made_it(windows: Windows, job: str) -> None:
        command = [sys.executable, "-m", "tests.conformance.windows.idle_keeper", f"{job}-kept"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as keeper:
            assert keeper.stdout is not None
            key = ProcessKey(*map(int, keeper.stdout.readline().split()))
            assert windows.is_running(key)
            keeper.kill()
        eventually(lambda: not windows.is_running(key))

    def test_a_confined_program_starts_no_more_than_its_job_may_have(
        windows: Windows, stage: Stage, job: str, user: tuple[str, str]
    ) -> None:
        if not stage.keeps_limits:
            pytest.skip("Wine lets a job have any number of processes")
        source = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', ''])"
        windows.make_job(job, JobLimits(processes=1, confined=True))
        with _start(windows, job, user, stage.folder, source).output as output:
            assert b"OSError" in b"".join(iter(lambda: output.read(4096), b""))

    def test_a_hidden_stream_counts_as_part_of_its_file(windows: Windows, stage: Stage) -> None:
        if on_wine():
            pytest.skip("Wine has no streams of files")
        (stage.folder / "plain").write_bytes(b"x" * 10)
        Path(f"{stage.folder / 'plain'}:hidden").write_bytes(b"y" * 1000)
        assert windows.size_of(stage.folder / "plain") == 1010


@dataclass(frozen=True)
class Bot:
    """One whose code leaves a file and waits."""

    sandbox: WindowsSandbox
    lines: list[bytes]
    mark: Path


@pytest.fixture
def bot(windows: Windows, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    root = stage.folder / "rooms" / "bot_1"
    for name in ("shown", "code", "box"):
        (root / name).mkdir(parents=True)
    (root / "keeper.json").write_text("{}")
    library = root / "code" / "mine.py"
    library.write_text(f"import pathlib\npathlib.Path('ran').touch()\n{WAITS}\n")
    real = bot_room.environment
    monkeypatch.setattr(
        bot_room,
        "environment",
        lambda *given: real(*given) | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(library.parent)))},
    )
    lines: list[bytes] = []
    room = Room("bot_1", root / "box", ["mine"], Limits(), root / "code")
    made = Bot(WindowsSandbox(room, lines.append, windows), lines, root / "box" / "ran")
    yield made
    made.sandbox.kill()


def _pretend(windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    """That each call that Wine lacks has been made and has had its effect."""
    if isinstance(windows, FakeWindows):
        windows.rooms_hold = False
    elif on_wine():
        take_own_token()
        real = bot_room.job_limits
        monkeypatch.setattr(
            bot_room, "job_limits", lambda *given, **more: replace(real(*given, **more), cpu_percent=None)
        )
        monkeypatch.setattr(windows, "filters_network", lambda: True)
        monkeypatch.setattr(windows, "block_network", lambda rule, group: None)
        monkeypatch.setattr(windows, "ensure_user", lambda name, password, groups: windows.own_sid())


def test_a_bot_does_not_run_where_windows_refuses_what_confines_it(windows: Windows, bot: Bot) -> None:
    if isinstance(windows, FakeWindows):
        windows.refused["filters_network"] = 0x80004001
    elif not on_wine():
        pytest.skip("this Windows has all of it")
    with pytest.raises(NoSandboxError, match="this node cannot make"):
        bot.sandbox.start()
    assert not bot.mark.exists()


def test_a_bot_does_not_run_where_what_confines_it_has_no_effect(
    windows: Windows, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32" and not on_wine():
        pytest.skip("on this Windows it has")
    _pretend(windows, monkeypatch)
    with pytest.raises(NoSandboxError, match="does not hold") as refused:
        bot.sandbox.start()
    for found in ("its keeper's can be read", "its code can be written to", "network", "programs can be started"):
        assert found in str(refused.value)
    assert not bot.mark.exists()


def test_a_bot_in_its_room_is_heard_watched_and_ended_within_two_seconds(
    windows: Windows, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(windows, monkeypatch)
    if sys.platform != "win32" or on_wine():
        monkeypatch.setattr(bot_sandbox, "_ENTRY", "tests.conformance.windows.holding_entry")
    bot.sandbox.start()
    eventually(lambda: bot.lines == [b"begins"])
    assert bot.mark.exists()
    assert bot.sandbox.poll() is None
    assert bot.sandbox.look() is None
    began = time.monotonic()
    bot.sandbox.stop(1.3)
    assert time.monotonic() - began < 2.0
    assert bot.sandbox.poll() is not None
