"""A double of Windows for tests on other systems: real processes of this machine, everything else in memory.

The suite in tests/conformance/windows runs on it and, under Wine, on the calls themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from node_agent.process import birth_of
from node_agent.windows import bot_entry
from node_agent.windows.bot_entry import HELD
from node_agent.windows.port import Confined, JobLimits, JobStats, ProcessKey, Program, WindowsCallError

SEAL = b"sealed:"
OWNER = "S-1-5-21-1-1-1-500"
_HOLDS = f"""import runpy, sys
print({HELD!r}, flush=True)
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""In place of the first program of a bot's room, which would find that nothing here is refused to it."""


class FakeWindows:
    """Implements `node_agent.windows.port.Windows`. SIGTERM stands for WM_CLOSE."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[JobLimits, list[int]]] = {}
        self.given_rights: dict[Path, str] = {}
        self.users: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.sessions: dict[str, int] = {}
        self.tasks: dict[str, tuple[str, str, str]] = {}
        self.ran: list[tuple[str, int | None]] = []
        self.on_task: Callable[[str], None] = lambda path: None
        """Does what the scheduler would: the test starts the starter."""
        self.rooms_hold = True
        """Windows refuses what it has been told to refuse to a bot."""
        self.firewall_on = True
        self.strays: dict[str, list[int]] = {}
        """What users have had started for them outside of their jobs, by services of the system."""
        self.blocked: list[tuple[str, str]] = []
        self.passwords_used: list[str] = []
        self.cpu_seconds = 0.25
        self.peak_memory = 0
        self.refused: dict[str, int] = {}
        """Calls that fail, with their error numbers."""
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def _check(self, call: str) -> None:
        if call in self.refused:
            raise WindowsCallError(call, self.refused[call], "refused by the test")

    def launch(self, program: Program, job: str) -> ProcessKey:
        self._check("launch")
        if job not in self.jobs:
            raise WindowsCallError("OpenJobObject", 2, "not found")
        try:
            with Path(program.output or os.devnull).open("ab") as output:
                child = subprocess.Popen(
                    list(program.command), cwd=program.folder, stdout=output, stderr=output,
                    env={**os.environ, **program.environment}, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise WindowsCallError("CreateProcess", error.errno or 0, error.strerror or "") from error
        self._children[child.pid] = child
        self.jobs[job][1].append(child.pid)
        return ProcessKey(child.pid, self._created(child.pid))

    def launch_confined(self, program: Program, job: str, user: str, password: str) -> Confined:
        self._check("launch_confined")
        if job not in self.jobs:
            raise WindowsCallError("OpenJobObject", 2, "not found")
        if self.users.get(user, ("", ()))[0] != password:
            raise WindowsCallError("LogonUser", 1326, "the user name or password is incorrect")
        command = list(program.command)
        if self.rooms_hold and bot_entry.__name__ in command:
            entry = command.index(bot_entry.__name__)
            command[entry - 1 : entry + 1] = ["-c", _HOLDS]
        child = subprocess.Popen(
            command, cwd=program.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(program.environment), start_new_session=True, bufsize=0,
        )  # fmt: skip
        assert child.stdout is not None
        self.passwords_used.append(password)
        self._children[child.pid] = child
        self.jobs[job][1].append(child.pid)
        return Confined(ProcessKey(child.pid, self._created(child.pid)), child.stdout)

    def _created(self, pid: int) -> int:
        born = birth_of(pid)
        return 0 if born is None else int(born.rpartition(":")[2])

    def _members(self, job: str) -> list[int]:
        """With their children, which sessions of their own keep together."""
        leaders = self.jobs[job][1] if job in self.jobs else []
        listing = subprocess.run(["ps", "-eo", "pid=,sid=,stat="], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listing.splitlines()]
        return [int(pid) for pid, session, state in rows if int(session) in leaders and not state.startswith("Z")]

    def key_of(self, pid: int) -> ProcessKey | None:
        created = self._created(pid)
        return ProcessKey(pid, created) if created else None

    def is_running(self, process: ProcessKey) -> bool:
        return self.key_of(process.pid) == process

    def exit_code(self, process: ProcessKey) -> int | None:
        child = self._children.get(process.pid)
        code = child.poll() if child else None
        return code if code is None or code >= 0 else 1

    def terminate(self, process: ProcessKey) -> None:
        if self.is_running(process):
            os.kill(process.pid, signal.SIGKILL)

    def ask_to_close(self, process: ProcessKey) -> int:
        status = Path(f"/proc/{process.pid}/status")
        if not self.is_running(process) or not status.exists():
            return 0
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if not int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return 0
        os.kill(process.pid, signal.SIGTERM)
        return 1

    def make_job(self, name: str, limits: JobLimits, member_sid: str | None = None) -> None:
        self._check("make_job")
        self.jobs[name] = (limits, self.jobs[name][1] if name in self.jobs else [])

    def job_limits(self, name: str) -> JobLimits | None:
        return self.jobs[name][0] if name in self.jobs else None

    def job_stats(self, name: str) -> JobStats | None:
        if name not in self.jobs:
            return None
        pids = self._members(name)
        return JobStats(tuple(pids), 1 << 20 if pids else 0, self.peak_memory, self.cpu_seconds)

    def terminate_job(self, name: str) -> None:
        self._check("terminate_job")
        for pid in self._members(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.jobs.pop(name, None)

    def filters_network(self) -> bool:
        self._check("filters_network")
        return self.firewall_on

    def block_network(self, rule: str, group: str) -> None:
        self._check("block_network")
        self.blocked.append((rule, group))

    def size_of(self, path: Path) -> int:
        return path.lstat().st_size

    def protect(self, secret: bytes) -> bytes:
        return SEAL + bytes(byte ^ 0x5A for byte in secret)

    def unprotect(self, sealed: bytes) -> bytes:
        if not sealed.startswith(SEAL):
            raise WindowsCallError("CryptUnprotectData", 13, "the data is invalid")
        return bytes(byte ^ 0x5A for byte in sealed.removeprefix(SEAL))

    def set_rights(self, path: Path, sddl: str) -> None:
        self._check("set_rights")
        if not path.exists():
            raise WindowsCallError("SetNamedSecurityInfo", 2, "not found")
        self.given_rights[path] = sddl

    def rights(self, path: Path) -> str:
        return self.given_rights[path]

    def own_sid(self) -> str:
        return OWNER

    def ensure_user(self, name: str, password: str, groups: Sequence[str]) -> str:
        self._check("ensure_user")
        self.users[name] = (password, tuple(groups))
        return f"S-1-5-21-1-1-1-{1000 + list(self.users).index(name)}"

    def remove_user(self, name: str) -> None:
        self.users.pop(name, None)

    def processes_of(self, user: str) -> tuple[int, ...]:
        self._check("processes_of")
        return tuple(pid for pid in self.strays.get(user, []) if self.key_of(pid))

    def session_of(self, user: str) -> int | None:
        return self.sessions.get(user)

    def register_task(self, path: str, xml: str, user: str, password: str) -> None:
        self.tasks[path] = (xml, user, password)

    def task_xml(self, path: str) -> str | None:
        return self.tasks[path][0] if path in self.tasks else None

    def run_task(self, path: str, session: int | None) -> None:
        self._check("run_task")
        if path not in self.tasks:
            raise WindowsCallError("ITaskFolder.GetTask", 0x80070002, "not found")
        self.ran.append((path, session))
        self.on_task(path)

    def remove_task(self, path: str) -> None:
        self.tasks.pop(path, None)
