"""`windows_process` on the double of Windows, with users and the starter: for systems that are not Windows.

The terminal is a script with a "window"; its worker has the simulated backend and nobody behind it, since the official
package runs on Windows alone. On Windows' own calls the runtime is tested in tests/conformance/windows.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from node_agent.layout import DataLayout
from node_agent.process import Engine, Handle
from node_agent.protocol.messages import TemplateRef
from node_agent.roster import Roster
from node_agent.runtimes.base import Runtime, TerminalSpec, WorkerSeat
from node_agent.runtimes.windows_process import WindowsNode, WindowsProcessRuntime
from node_agent.windows.engine import KIND, JobEngine, key_of
from node_agent.windows.port import JobLimits
from node_agent.windows.starter import take_orders
from tests.conformance.runtimes.drivers import process_facts
from tests.windows_double import FakeWindows

LIMIT = 256 << 20
_PROGRAM = f"""#!{sys.executable}
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    time.sleep(600)
"""


class _RuntimeWithoutPackage(WindowsProcessRuntime):
    def worker_seat(self, spec: TerminalSpec) -> WorkerSeat:
        return WorkerSeat("simulated", {"ipc": f"unix:{spec.layout.ipc_socket}"})


class WindowsDoubleDriver:
    """Only what Windows itself does is a double."""

    name = "windows_process"
    killed = 1

    def __init__(self, template: Path) -> None:
        self._template = template
        (template / "terminal64.exe").write_text(_PROGRAM)
        (template / "terminal64.exe").chmod(0o755)
        self._windows = FakeWindows()
        self._windows.on_task = self._run_starters
        self._layout: DataLayout | None = None

    def _run_starters(self, path: str) -> None:
        assert self._layout is not None
        for orders in self._layout.terminals.glob("*/orders"):
            take_orders(self._windows, orders)

    def engines(self) -> dict[str, Engine]:
        return {KIND: JobEngine(self._windows)}

    def runtime(self, layout: DataLayout, roster: Roster) -> Runtime:
        self._layout = layout
        self._windows.peak_memory = 0
        node = WindowsNode(lambda ref: self._template, True, JobLimits(LIMIT, 50.0, 16))
        return _RuntimeWithoutPackage(roster, self._windows, node, time.time, time.sleep)

    def spec(self, spec: TerminalSpec) -> TerminalSpec:
        return replace(spec, template=TemplateRef(name="Stand-in", build=5260, sha256="1" * 64, size=1))

    def break_down(self, spec: TerminalSpec, handle: Handle) -> int:
        self._windows.terminate(key_of(handle))
        return 1

    def refuse_to_end(self, spec: TerminalSpec, handle: Handle) -> None:
        os.kill(handle.pid, signal.SIGSTOP)

    def outside(self, spec: TerminalSpec, handle: Handle) -> str:
        return process_facts(handle.pid) + repr([xml for xml, _, _ in self._windows.tasks.values()])

    def spoil(self, spec: TerminalSpec) -> TerminalSpec:
        return replace(spec, template=None)

    def eat_memory(self, spec: TerminalSpec) -> None:
        """Windows refuses the memory, and the program ends itself; the double is told of both."""
        self._windows.peak_memory = LIMIT
        for _, pids in list(self._windows.jobs.values()):
            for pid in pids:
                if key := self._windows.key_of(pid):
                    self._windows.terminate(key)
