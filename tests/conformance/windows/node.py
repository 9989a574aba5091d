"""A node with the runtime and nothing else: what a test drives and, as a program, an agent that is killed."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from node_agent.database import Database
from node_agent.layout import DataLayout
from node_agent.process import Children
from node_agent.protocol.messages import TemplateRef
from node_agent.protocol.sealing import Credentials
from node_agent.roster import Roster
from node_agent.runtimes.base import TerminalSpec
from node_agent.runtimes.windows_process import WindowsNode, WindowsProcessRuntime
from node_agent.state import StateStore
from node_agent.windows.engine import KIND, JobEngine
from node_agent.windows.port import JobLimits, Windows
from node_agent.worker import Modules

TERMINAL_ID = "ter_0123456789abcdef"
TEMPLATE = TemplateRef(name="stand-in", build=1, sha256="0" * 64, size=1)
CREDENTIALS = Credentials(login=5001, password="the-secret", server="MT5Farm-Demo")
# Wine knows no CPU rate of a job.
LIMITS = JobLimits(memory=256 << 20, processes=8)


@dataclass
class Node:
    """One agent's worth of state on a data folder. Several may follow each other, like restarts of an agent."""

    layout: DataLayout
    database: Database
    roster: Roster
    runtime: WindowsProcessRuntime
    spec: TerminalSpec

    @classmethod
    def open(
        cls, windows: Windows, data: Path, template: Path, own_users: bool = False, remembers: bool = True
    ) -> Node:
        """`remembers` is off for an agent that was killed before it could note what it had started."""
        layout = DataLayout.open(data)
        database = Database(layout.database if remembers else data / "forgetful.sqlite3")
        roster = Roster(StateStore(database), Children(), time.time, {KIND: JobEngine(windows)})
        node = WindowsNode(
            lambda ref: template,
            own_users,
            LIMITS,
            modules=Modules(worker="tests.conformance.windows.idle_worker"),
            python=Path(sys.executable),
        )
        runtime = WindowsProcessRuntime(roster, windows, node, time.time, time.sleep)
        terminal = layout.terminal(TERMINAL_ID)
        terminal.root.mkdir(exist_ok=True)
        spec = TerminalSpec(TERMINAL_ID, "MT5Farm-Demo", None, terminal, "print", TEMPLATE)
        return cls(layout, database, roster, runtime, spec)

    @property
    def seen(self) -> Path:
        """What the stand-in writes once it has read its start-up file."""
        return self.spec.layout.folder / "seen.txt"

    def prepare_and_start(self) -> None:
        self.runtime.prepare(self.spec, CREDENTIALS)
        self.runtime.start(self.spec)

    def close(self) -> None:
        self.database.close()


def main() -> None:
    """Start a terminal, say so, and wait to be killed: `python -m ... DATA TEMPLATE`."""
    from node_agent.windows.calls import WindowsCalls

    node = Node.open(WindowsCalls(), Path(sys.argv[1]), Path(sys.argv[2]))
    node.prepare_and_start()
    print("started", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
