"""The contract with Windows that the runtime is written against, kept by `calls.WindowsCalls` and by the tests' double.

Every method raises WindowsCallError when Windows refuses; its text names the call and Windows' own words, no secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol


class WindowsCallError(Exception):
    """A call that Windows refused. `code` is Windows' error number."""

    def __init__(self, call: str, code: int, text: str) -> None:
        super().__init__(f"{call} failed: {text.strip() or 'unknown error'} ({code})")
        self.code = code


@dataclass(frozen=True)
class ProcessKey:
    """A process for good: Windows uses pids again, but no two processes of a pid have one creation time."""

    pid: int
    created: int
    """Hundreds of nanoseconds since 1601, UTC, as GetProcessTimes gives it."""


@dataclass(frozen=True)
class JobLimits:
    """Bounds of all processes of a job together. None: no bound."""

    memory: int | None = None
    """Bytes of committed memory."""
    cpu_percent: float | None = None
    """Of the whole machine, all its cores."""
    processes: int | None = None
    confined: bool = False
    """For code of strangers: no desktop, clipboard, atoms, settings or shutdown that others share, no dialogue of a
    crash, and all its processes end with the last handle of the job, so with whoever made it.
    """


@dataclass(frozen=True)
class JobStats:
    """What a job's processes use at present and have used."""

    processes: tuple[int, ...]
    """Pids."""
    memory: int
    """Bytes of working set."""
    peak_memory: int
    """Most bytes that the job has ever had committed, counted as its memory limit counts them."""
    cpu_seconds: float
    """User and kernel time of all processes that the job ever had."""


@dataclass(frozen=True)
class Program:
    """What is to be started. Nothing in it may be secret: other users can read a command line."""

    command: tuple[str, ...]
    folder: Path
    """Working directory."""
    output: Path | None = None
    """File that takes standard output and error; without it there are none."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to that of the starting process."""


@dataclass(frozen=True)
class Confined:
    """A running program of `Windows.launch_confined`."""

    key: ProcessKey
    output: IO[bytes]
    """What it prints on both streams, unbuffered; ends with it."""


class Windows(Protocol):
    """Windows, as far as a node needs it. Thread-safe."""

    def launch(self, program: Program, job: str) -> ProcessKey:
        """Start a program inside the job: it runs nothing before it is in it, and outlives the starting process.

        The program holds a handle of its own job, so that the job's name lasts as long as the program: Windows forgets
        the name of a job when the last handle is closed, even while its processes run.
        """

    def launch_confined(self, program: Program, job: str, user: str, password: str) -> Confined:
        """Start a program of strangers inside the job, as this local user, with `program.environment` and no more.

        Its token has no privileges, and may write only where the user itself was given that right: what everybody or
        the users of this machine may write to is closed to it. It has no console, a window station of its own, and no
        handle but the writing end of its output; the job's handle stays here.
        """

    def key_of(self, pid: int) -> ProcessKey | None:
        """The process that has this pid now; None when none runs."""

    def is_running(self, process: ProcessKey) -> bool: ...

    def exit_code(self, process: ProcessKey) -> int | None:
        """Of a process that this object has launched or once asked about while it ran; else None."""

    def terminate(self, process: ProcessKey) -> None:
        """End exactly this process at once; nothing happens when it has gone."""

    def ask_to_close(self, process: ProcessKey) -> int:
        """Send WM_CLOSE to its top-level windows on the caller's own desktop; gives how many there were."""

    def make_job(self, name: str, limits: JobLimits, member_sid: str | None = None) -> None:
        """Make the job, or open the one of that name, and set its limits. Its processes outlive its handles.

        A user with `member_sid` may put processes of his own into it and look at it, not change it.
        """

    def job_limits(self, name: str) -> JobLimits | None:
        """None when there is no such job."""

    def job_stats(self, name: str) -> JobStats | None:
        """None when there is no such job."""

    def terminate_job(self, name: str) -> None:
        """End all its processes at once and let go of it; nothing happens when there is no such job."""

    def filters_network(self) -> bool:
        """Whether the firewall is on for all networks that this machine is on, and heeds rules made on it."""

    def block_network(self, rule: str, group: str) -> None:
        """Rules of the firewall of that name, in and out, for the members of a local group; made where they lack.

        Loopback is not filtered by it.
        """

    def size_of(self, path: Path) -> int:
        """Bytes of a file as it is now, with all its streams: what a folder's listing says may be old."""

    def protect(self, secret: bytes) -> bytes:
        """Seal with DPAPI to the user that runs this process, on this machine."""

    def unprotect(self, sealed: bytes) -> bytes: ...

    def set_rights(self, path: Path, sddl: str) -> None:
        """Give a file or folder exactly this list of rights (SDDL, `D:P...`); what is below inherits them."""

    def rights(self, path: Path) -> str:
        """The list of rights as SDDL."""

    def own_sid(self) -> str:
        """Of the user that runs this process."""

    def ensure_user(self, name: str, password: str, groups: Sequence[str]) -> str:
        """Make the local user, or give the existing one this password; gives the SID. The groups must exist."""

    def remove_user(self, name: str) -> None:
        """Nothing happens when there is no such user."""

    def processes_of(self, user: str) -> tuple[int, ...]:
        """Pids of all that runs as this local user, in jobs or not; none when there is no such user."""

    def session_of(self, user: str) -> int | None:
        """The session that the user is signed in to; None when there is none."""

    def register_task(self, path: str, xml: str, user: str, password: str) -> None:
        """Store a scheduled task, in place of one of the same path (`\\\\folder\\\\name`), that runs as this user."""

    def task_xml(self, path: str) -> str | None:
        """The definition as Windows keeps it; None when there is no such task."""

    def run_task(self, path: str, session: int | None) -> None:
        """Run a stored task now, in a session or without one. Returns before its program has started."""

    def remove_task(self, path: str) -> None:
        """Nothing happens when there is no such task."""
