"""What `node_agent.windows.port.Windows` promises."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from node_agent.windows.port import JobLimits, ProcessKey, Program, Windows, WindowsCallError
from tests.conformance.windows.conftest import Stage
from tests.conformance.windows.waiting import eventually

LIMITS = JobLimits(memory=256 << 20, processes=5)


@pytest.fixture
def job(windows: Windows) -> Iterator[str]:
    name = f"Global\\mt5farm-test-{secrets.token_hex(6)}"
    windows.make_job(name, LIMITS)
    yield name
    windows.terminate_job(name)


@pytest.fixture
def terminal(windows: Windows, stage: Stage, job: str) -> ProcessKey:
    """A running one, whose window is there."""
    return _started(windows, stage, job)


def _started(windows: Windows, stage: Stage, job: str) -> ProcessKey:
    ini = stage.folder / "s.ini"
    ini.write_text("[Common]\nLogin=5001\n[Experts]\nAllowLiveTrading=1\n")
    key = windows.launch(Program(stage.command("/portable", f"/config:{ini}"), stage.program.parent), job)
    eventually((stage.program.parent / "seen.txt").exists)
    return key


def test_a_program_runs_in_its_job_and_is_known_by_pid_and_creation(
    windows: Windows, stage: Stage, job: str, terminal: ProcessKey
) -> None:
    stats = windows.job_stats(job)
    assert stats is not None
    assert terminal.pid in stats.processes
    assert windows.is_running(terminal)
    assert windows.key_of(terminal.pid) == terminal
    login, trading, pid, folder = (stage.program.parent / "seen.txt").read_text().split()
    assert (login, trading, int(pid), folder) == ("5001", "1", terminal.pid, str(stage.program.parent))


def test_another_process_of_the_same_pid_is_not_the_same_process(windows: Windows, terminal: ProcessKey) -> None:
    another = replace(terminal, created=terminal.created - 1)
    assert not windows.is_running(another)
    windows.terminate(another)
    assert windows.ask_to_close(another) == 0
    assert windows.is_running(terminal)


def test_nothing_is_known_of_a_pid_that_nobody_has(windows: Windows) -> None:
    assert windows.key_of(0x7FFFFFF0) is None
    windows.terminate(ProcessKey(0x7FFFFFF0, 1))


def test_a_program_writes_to_its_output_file(windows: Windows, stage: Stage, job: str) -> None:
    import sys

    output = stage.folder / "output.log"
    windows.launch(Program((sys.executable, "-c", "print('hello')"), stage.folder, output, {"A": "b"}), job)
    eventually(lambda: output.exists() and "hello" in output.read_text())


def test_the_exit_code_can_be_read_after_the_end(windows: Windows, stage: Stage, job: str) -> None:
    key = windows.launch(Program(stage.command("/exit", "7"), stage.folder), job)
    eventually(lambda: windows.exit_code(key) == 7)
    assert not windows.is_running(key)


def test_a_window_is_asked_to_close(windows: Windows, terminal: ProcessKey) -> None:
    assert windows.ask_to_close(terminal) >= 1
    eventually(lambda: not windows.is_running(terminal))
    assert windows.exit_code(terminal) == 0
    assert windows.ask_to_close(terminal) == 0


def test_a_program_without_a_window_cannot_be_asked(windows: Windows, stage: Stage, job: str) -> None:
    key = windows.launch(Program(stage.windowless, stage.folder), job)
    assert windows.ask_to_close(key) == 0
    assert windows.is_running(key)


def test_one_process_is_ended_at_once(windows: Windows, terminal: ProcessKey) -> None:
    windows.terminate(terminal)
    eventually(lambda: not windows.is_running(terminal))
    windows.terminate(terminal)


def test_the_end_of_a_job_is_the_end_of_all_that_its_programs_have_started(
    windows: Windows, stage: Stage, job: str
) -> None:
    (stage.program.parent / "parent").touch()
    _started(windows, stage, job)

    def pids() -> tuple[int, ...]:
        stats = windows.job_stats(job)
        return stats.processes if stats else ()

    eventually(lambda: len(pids()) >= 2)
    running = [key for pid in pids() if (key := windows.key_of(pid))]
    windows.terminate_job(job)
    eventually(lambda: not any(windows.is_running(key) for key in running))


def test_a_job_that_was_never_made_is_no_job(windows: Windows, stage: Stage) -> None:
    assert windows.job_limits("mt5farm-test-none") is None
    assert windows.job_stats("mt5farm-test-none") is None
    windows.terminate_job("mt5farm-test-none")
    with pytest.raises(WindowsCallError):
        windows.launch(Program(stage.windowless, stage.folder), "mt5farm-test-none")


def test_limits_are_kept_and_replaced(windows: Windows, stage: Stage, job: str) -> None:
    windows.make_job(job, replace(LIMITS, processes=9))
    if not stage.keeps_limits:
        pytest.skip("Wine takes the limits of a job and keeps none")
    assert windows.job_limits(job) == replace(LIMITS, processes=9)


def test_a_job_whose_limits_are_set_anew_keeps_its_processes(windows: Windows, job: str, terminal: ProcessKey) -> None:
    windows.make_job(job, replace(LIMITS, processes=9))
    stats = windows.job_stats(job)
    assert stats is not None
    assert terminal.pid in stats.processes


def test_a_job_can_be_opened_to_another_user(windows: Windows, stage: Stage, job: str) -> None:
    windows.terminate_job(job)
    windows.make_job(job, LIMITS, "S-1-5-21-1-2-3-1004")
    assert windows.is_running(windows.launch(Program(stage.windowless, stage.folder), job))


def test_a_program_that_is_not_there_cannot_be_started(windows: Windows, stage: Stage, job: str) -> None:
    with pytest.raises(WindowsCallError):
        windows.launch(Program((str(stage.folder / "none.exe"),), stage.folder), job)


def test_a_secret_is_sealed_and_opened(windows: Windows) -> None:
    sealed = windows.protect("pässword".encode())
    assert b"word" not in sealed
    assert windows.unprotect(sealed).decode() == "pässword"
    with pytest.raises(WindowsCallError) as refused:
        windows.unprotect(b"something else")
    assert "something" not in str(refused.value)


def test_rights_can_be_given_and_read(windows: Windows, stage: Stage) -> None:
    windows.set_rights(stage.folder, f"D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;{windows.own_sid()})")
    assert windows.own_sid() in windows.rights(stage.folder)
    with pytest.raises(WindowsCallError):
        windows.set_rights(stage.folder / "none", "D:P(A;;FA;;;SY)")


def test_a_task_is_stored_without_its_password(windows: Windows) -> None:
    path = f"\\mt5farm\\test-{secrets.token_hex(4)}"
    assert windows.task_xml(path) is None
    windows.register_task(path, TASK, "somebody", "the-password")
    stored = windows.task_xml(path)
    assert stored is not None
    assert "<Exec" in stored
    assert "the-password" not in stored
    windows.remove_task(path)
    assert windows.task_xml(path) is None
    windows.remove_task(path)
    with pytest.raises(WindowsCallError):
        windows.run_task(path, None)


TASK = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo/><Triggers/><Actions><Exec><Command>nothing.exe</Command></Exec></Actions>
</Task>
"""
