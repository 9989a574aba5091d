"""Programs started through the starter, in the scheduler's place by the test: everything but the scheduler is real."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.windows.orders import Close, Launch
from node_agent.windows.port import JobLimits, Program, Windows, WindowsCallError
from node_agent.windows.session import TaskSession
from node_agent.windows.starter import take_orders
from tests.conformance.windows.conftest import Stage
from tests.conformance.windows.waiting import eventually

USER = "mt5f_nobody"


@pytest.fixture
def job(windows: Windows) -> Iterator[str]:
    name = f"Global\\mt5farm-test-{secrets.token_hex(6)}"
    windows.make_job(name, JobLimits(memory=256 << 20, processes=5))
    yield name
    windows.terminate_job(name)


@pytest.fixture
def session(windows: Windows, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> TaskSession:
    orders = stage.folder / "orders"
    orders.mkdir()

    def run_task(path: str, session: int | None) -> None:
        assert (path, session) == ("\\mt5farm\\test", None)
        if sys.platform == "win32":
            subprocess.run([sys.executable, "-m", "node_agent.windows.starter", "--orders", str(orders)], check=True)
        else:
            assert take_orders(windows, orders) == 1

    monkeypatch.setattr(windows, "run_task", run_task)
    return TaskSession(windows, "\\mt5farm\\test", USER, orders)


def test_a_program_is_started_in_the_job_and_asked_to_close(
    windows: Windows, stage: Stage, session: TaskSession, job: str
) -> None:
    ini = stage.folder / "s.ini"
    ini.write_text("[Common]\nLogin=5001\n[Experts]\nAllowLiveTrading=1\n")
    program = Program(stage.command("/portable", f"/config:{ini}"), stage.program.parent)
    key = session.launch(Launch(program, job))
    eventually((stage.program.parent / "seen.txt").exists)
    stats = windows.job_stats(job)
    assert stats is not None
    assert key.pid in stats.processes
    assert session.close(Close(key)) >= 1
    eventually(lambda: not windows.is_running(key))
    assert list(session.orders.iterdir()) == []


def test_what_windows_refuses_there_is_said_here(stage: Stage, session: TaskSession, job: str) -> None:
    with pytest.raises((OSError, WindowsCallError)) as refused:
        session.launch(Launch(Program((str(stage.folder / "none.exe"),), Path(stage.folder)), job))
    assert "CreateProcess" in str(refused.value)
    assert list(session.orders.iterdir()) == []
