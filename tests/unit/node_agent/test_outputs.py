"""Outputs that are appended to for months stay small, and their newest lines are kept."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from node_agent.layout import DataLayout
from node_agent.outputs import cut_outputs
from node_agent.process import Children, Role, Slot
from tests.bridge_doubles import eventually

ID = "ter_0000000000000001"


@pytest.fixture
def layout(tmp_path: Path) -> DataLayout:
    return DataLayout.open(tmp_path)


def test_what_has_grown_too_large_is_cut_while_it_is_written_to(layout: DataLayout) -> None:
    terminal = layout.terminal(ID)
    outputs = {
        layout.gateway_files.output: b"newest",
        layout.root / "watchdog.log": b"newest",
        terminal.logs / "worker.log": b"newest",
        terminal.bot("bot_1").output: b"newest",
        terminal.bot("bot_1").log: b"",
    }
    for path, kept in outputs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as writer:
            writer.write(b"x" * 100 + b"newest")
            writer.flush()
            cut_outputs(layout, most=100, kept=6)
            writer.write(b"next")
        assert path.read_bytes() == kept + b"next"


@pytest.mark.skipif(os.name != "posix", reason="an open file is cut")
def test_a_process_started_on_a_large_output_goes_on_at_its_new_end(layout: DataLayout) -> None:
    output = layout.root / "watchdog.log"
    output.write_bytes(b"x" * (5 * 1024 * 1024))
    words = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); print('first', flush=True);"
        "signal.sigwait([signal.SIGUSR1]); print('second', flush=True)"
    )
    children = Children()
    handle = children.start(Slot(Role.WATCHDOG), [sys.executable, "-c", words], output, "f", 1.0)
    eventually(lambda: output.read_bytes() == b"first\n")
    cut_outputs(layout, most=1, kept=0)
    os.kill(handle.pid, signal.SIGUSR1)
    eventually(lambda: output.read_bytes() == b"second\n")
    children.kill(handle)


def test_what_is_small_stays(layout: DataLayout) -> None:
    layout.gateway_files.output.write_bytes(b"x" * 100)
    cut_outputs(layout, most=100, kept=6)
    assert layout.gateway_files.output.read_bytes() == b"x" * 100


@pytest.mark.skipif(os.name != "posix", reason="links without a right of their own")
def test_what_a_terminal_has_linked_to_is_not_cut(layout: DataLayout, tmp_path_factory: pytest.TempPathFactory) -> None:
    precious = tmp_path_factory.mktemp("host") / "precious.log"
    precious.write_bytes(b"x" * 200)
    logs = layout.terminal(ID).logs
    logs.mkdir(parents=True)
    (logs / "a.log").symlink_to(precious)
    cut_outputs(layout, most=10, kept=6)
    (logs / "a.log").unlink()
    logs.rmdir()
    logs.symlink_to(precious.parent)
    cut_outputs(layout, most=10, kept=6)
    assert precious.read_bytes() == b"x" * 200
    assert list(precious.parent.iterdir()) == [precious]
