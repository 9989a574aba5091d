"""The runtime of real terminals, on Windows' own calls under Wine and on their double elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.handles import handle_from_data, handle_to_data
from node_agent.process import Handle, Role, Slot, is_alive
from node_agent.protocol.messages import Reason
from node_agent.protocol.sealing import Credentials
from node_agent.roster import ADOPTED, Exit
from node_agent.runtimes.base import LaunchError
from node_agent.windows.engine import JOB, KIND, JobEngine
from node_agent.windows.port import Windows
from tests.conformance.windows.conftest import Stage
from tests.conformance.windows.node import CREDENTIALS, TERMINAL_ID, Node
from tests.conformance.windows.waiting import eventually

Open = Callable[..., Node]
LONG = 20.0


@pytest.fixture
def open_node(windows: Windows, stage: Stage) -> Iterator[Open]:
    """Opens one agent after another on the same data folder."""
    nodes: list[Node] = []

    def open_another(remembers: bool = True) -> Node:
        nodes.append(Node.open(windows, stage.folder / "data", stage.program.parent, remembers=remembers))
        return nodes[-1]

    yield open_another
    nodes[-1].runtime.destroy(nodes[-1].spec)
    for node in nodes:
        node.close()


@pytest.fixture
def node(open_node: Open) -> Node:
    return open_node()


def _running(node: Node) -> Handle:
    node.prepare_and_start()
    eventually(node.seen.exists)
    handle = node.runtime.inspect(node.spec)
    assert handle is not None
    return handle


def test_a_terminal_reads_its_startup_file_and_nobody_else_needs_it_then(node: Node) -> None:
    handle = _running(node)
    login, trading, pid, folder = node.seen.read_text().split()
    assert (login, trading, int(pid), Path(folder)) == ("5001", "1", handle.pid, node.spec.layout.folder)
    assert node.spec.layout.startup.exists()
    node.runtime.forget_credentials(node.spec)
    assert not node.spec.layout.startup.exists()
    node.runtime.forget_credentials(node.spec)
    assert node.runtime.inspect(node.spec) == handle


def test_the_password_is_in_no_file_but_the_startup_file(node: Node) -> None:
    _running(node)
    node.runtime.forget_credentials(node.spec)
    for path in node.layout.root.rglob("*"):
        if path.is_file():
            assert CREDENTIALS.password.encode() not in path.read_bytes(), path


def test_stopping_asks_the_window_first(windows: Windows, node: Node) -> None:
    handle = _running(node)
    node.runtime.stop(node.spec, LONG)
    assert node.runtime.inspect(node.spec) is None
    assert JobEngine(windows).ending(handle).code == 0
    assert not node.spec.layout.startup.exists()
    assert node.roster.exits() == []


def test_a_terminal_that_does_not_listen_is_ended_with_all_that_it_has_started(windows: Windows, node: Node) -> None:
    node.runtime.prepare(node.spec, CREDENTIALS)
    for name in ("deaf", "parent"):
        (node.spec.layout.folder / name).touch()
    handle = node.runtime.start(node.spec)
    eventually(node.seen.exists)
    eventually(lambda: len(_pids(windows, handle)) >= 2)
    processes = [key for pid in _pids(windows, handle) if (key := windows.key_of(pid))]
    node.runtime.stop(node.spec, 0.2)
    eventually(lambda: not any(windows.is_running(key) for key in processes))


def _pids(windows: Windows, handle: Handle) -> tuple[int, ...]:
    stats = windows.job_stats(handle.facts[JOB])
    return stats.processes if stats else ()


def test_an_end_that_nobody_asked_for_is_reported_with_its_code(windows: Windows, node: Node) -> None:
    handle = _running(node)
    windows.ask_to_close(next(key for pid in [handle.pid] if (key := windows.key_of(pid))))
    told: list[Exit] = []

    def heard() -> bool:
        told.extend(node.roster.exits())
        return bool(told)

    eventually(heard)
    (ended,) = told
    assert (ended.handle, ended.code, ended.out_of_memory) == (handle, 0, False)
    assert node.runtime.inspect(node.spec) is None


def test_a_handle_ends_its_terminal_from_plain_data_alone(windows: Windows, node: Node) -> None:
    handle = handle_from_data(handle_to_data(_running(node)))
    assert handle.kind == KIND
    JobEngine(windows).kill(handle)
    assert not is_alive(handle)
    JobEngine(windows).kill(handle)


def test_a_restarted_agent_finds_its_terminal_by_the_handle(open_node: Open) -> None:
    handle = _running(open_node())
    again = open_node()
    assert again.runtime.inspect(again.spec) == handle
    assert again.runtime.recover([again.spec]) == []


def test_a_terminal_whose_handle_was_never_noted_is_found_by_its_job(windows: Windows, open_node: Open) -> None:
    """Also when it has started others, which are in the job as well."""
    first = open_node(remembers=False)
    first.runtime.prepare(first.spec, CREDENTIALS)
    (first.spec.layout.folder / "parent").touch()
    handle = first.runtime.start(first.spec)
    eventually(first.seen.exists)
    eventually(lambda: len(_pids(windows, handle)) >= 2)
    again = open_node()
    assert again.runtime.inspect(again.spec) is None
    (found,) = again.runtime.recover([again.spec])
    assert found == replace(handle, fingerprint=ADOPTED, started_at=found.started_at)
    assert again.runtime.inspect(again.spec) == found
    assert again.runtime.recover([again.spec]) == []
    again.runtime.stop(again.spec, LONG)
    assert not is_alive(found)


if sys.platform == "win32":  # the double of Windows forgets its jobs with its process

    def test_a_terminal_survives_the_death_of_its_agent(open_node: Open, stage: Stage) -> None:
        data, template = str(stage.folder / "data"), str(stage.program.parent)
        command = [sys.executable, "-m", "tests.conformance.windows.node", data, template]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as agent:
            try:
                assert agent.stdout is not None
                assert any(line.strip() == b"started" for line in agent.stdout)
            finally:
                agent.kill()
        again = open_node()
        eventually(again.seen.exists)
        handle = again.runtime.inspect(again.spec)
        assert handle is not None
        assert handle.kind == KIND
        again.runtime.stop(again.spec, LONG)
        assert not is_alive(handle)


def test_a_job_s_use_is_told(node: Node) -> None:
    assert node.runtime.stats(node.spec) is None
    _running(node)
    usage = node.runtime.stats(node.spec)
    assert usage is not None
    assert usage.processes >= 1
    assert usage.memory > 0


def test_the_worker_has_a_job_of_its_own(windows: Windows, node: Node) -> None:
    terminal = _running(node)
    worker = node.runtime.start_worker(node.spec, "worker-print")
    eventually(lambda: "idle" in (node.spec.layout.logs / "worker.log").read_text())
    assert worker.slot == Slot(Role.WORKER, TERMINAL_ID)
    assert worker.facts[JOB] != terminal.facts[JOB]
    node.roster.kill(worker.slot)
    assert not is_alive(worker)
    assert node.runtime.inspect(node.spec) == terminal


def test_the_worker_is_told_where_the_terminal_is(node: Node) -> None:
    seat = node.runtime.worker_seat(node.spec)
    assert seat.backend == "native"
    assert seat.options == {"path": str(node.spec.layout.folder / "terminal64.exe"), "portable": True}


def test_a_build_that_is_not_the_pinned_one_is_replaced_before_it_is_started(node: Node, stage: Stage) -> None:
    node.runtime.prepare(node.spec, CREDENTIALS)
    folder = node.spec.layout.folder
    (folder / "terminal64.exe").write_bytes(b"another build")
    (folder / "MQL5" / "mine.set").write_text("kept")
    node.runtime.prepare(node.spec, CREDENTIALS)
    assert (folder / "terminal64.exe").read_bytes() == stage.program.read_bytes()
    assert (folder / "MQL5" / "mine.set").read_text() == "kept"


def test_a_terminal_s_program_is_no_link_to_the_template_s(node: Node, stage: Stage) -> None:
    node.runtime.prepare(node.spec, CREDENTIALS)
    assert not (node.spec.layout.folder / "terminal64.exe").samefile(stage.program)


def test_nothing_is_left_of_a_destroyed_terminal(node: Node) -> None:
    _running(node)
    node.runtime.stop(node.spec, LONG)
    node.runtime.destroy(node.spec)
    assert not node.spec.layout.root.exists()
    node.runtime.destroy(node.spec)


def test_a_template_without_a_terminal_is_said_to_be_broken(node: Node, stage: Stage) -> None:
    stage.program.unlink()
    with pytest.raises(LaunchError) as refused:
        node.prepare_and_start()
    assert refused.value.reason is Reason.TEMPLATE_BROKEN


def test_a_password_that_would_be_another_line_is_refused(node: Node) -> None:
    with pytest.raises(LaunchError) as refused:
        node.runtime.prepare(
            node.spec, Credentials(login=5001, password="x\r\n[Experts]\r\nEnabled=0", server="MT5Farm-Demo")
        )
    assert refused.value.reason is Reason.BAD_CREDENTIALS
    assert "Enabled" not in str(refused.value)
