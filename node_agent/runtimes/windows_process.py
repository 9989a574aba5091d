"""Real terminals on Windows: terminal64.exe /portable in a job object, by choice as a local user of its own.

Each terminal has a folder that is a copy of its template, a Windows user, and two jobs (terminal, bridge worker) that
bound what they and their children take and that one call ends. The jobs are not kill-on-close: an agent that dies takes
no terminal with it. The bridge worker runs as the terminal's user as well, since the official package talks to
terminals of its own user.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from node_agent.clock import Clock
from node_agent.files import private_folder, write_atomically
from node_agent.layout import TerminalLayout
from node_agent.process import Handle, Role, Slot, birth_of
from node_agent.protocol.messages import Reason, TemplateRef
from node_agent.protocol.sealing import Credentials
from node_agent.roster import ADOPTED, Roster
from node_agent.runtimes.base import Capabilities, LaunchError, TerminalSpec, Usage, WorkerSeat
from node_agent.terminal.folder import (
    PROGRAM,
    changed_programs,
    forget_layout,
    is_link,
    lay_out,
    own_folders,
)
from node_agent.terminal.shelf import TemplateError
from node_agent.terminal.startup import startup_file
from node_agent.windows import isolation
from node_agent.windows.engine import CREATED, JOB, KIND, ORDERS, TASK, USER
from node_agent.windows.orders import Launch
from node_agent.windows.port import JobLimits, ProcessKey, Program, Windows, WindowsCallError
from node_agent.windows.session import OwnSession, Session, TaskSession
from node_agent.worker import Modules, worker_command

_log = structlog.get_logger(__name__)
_WORKER_PROCESSES: Final = 8
_DESTROY_TRIES: Final = 20
_DESTROY_SECONDS: Final = 0.1
_LETTER: Final = {Role.TERMINAL: "t", Role.WORKER: "w"}


@dataclass(frozen=True)
class WindowsNode:
    """How terminals are run on this node."""

    take: Callable[[TemplateRef], Path]
    """The unpacked template, with terminal64.exe; blocks while it is fetched. Raises TemplateError, OSError."""
    own_users: bool = True
    """A local user for each terminal. Without it all run as the agent's user, for a node that serves one person."""
    limits: JobLimits = field(default_factory=JobLimits)
    """Of a terminal and what it starts."""
    worker_memory: int = 512 << 20
    modules: Modules = field(default_factory=Modules)
    python: Path = Path(sys.executable)


class WindowsProcessRuntime:
    """Implements `base.Runtime`."""

    name = "windows_process"

    def __init__(
        self, roster: Roster, windows: Windows, node: WindowsNode, clock: Clock, wait: Callable[[float], None]
    ) -> None:
        """`wait` pauses for so many seconds; files of a process that has just ended may be held for a moment."""
        self._roster = roster
        self._windows = windows
        self._node = node
        self._clock = clock
        self._wait = wait
        self.capabilities = Capabilities(
            real_mt5=True,
            memory_limit=True,
            cpu_limit=node.limits.cpu_percent is not None,
            isolates_users=node.own_users,
        )

    def prepare(self, spec: TerminalSpec, credentials: Credentials) -> None:
        try:
            ini = startup_file(credentials)
        except ValueError as error:
            raise LaunchError(Reason.BAD_CREDENTIALS, str(error)) from error
        if spec.template is None:
            raise LaunchError(Reason.TEMPLATE_BROKEN, "No terminal template has been imported for this broker.")
        try:
            self._make_folder(spec.layout, spec.template)
            if self._node.own_users:
                self._make_user(spec.layout)
            write_atomically(spec.layout.startup, ini)
        except TemplateError as error:
            raise LaunchError(Reason.TEMPLATE_BROKEN, str(error)) from error
        except WindowsCallError as error:
            raise LaunchError(
                Reason.TEMPLATE_BROKEN, f"The terminal cannot be closed off on this node: {error}."
            ) from error
        except OSError as error:
            raise LaunchError.of(error, "The terminal's folder cannot be prepared") from error

    def _make_folder(self, layout: TerminalLayout, template: TemplateRef) -> None:
        """Lay the folder out from its template, and anew when a program is not the pinned build's: LiveUpdate was here,
        or the disk is failing.
        """
        # The terminal's user can turn a folder of his into a link, and we are about to write there with more rights.
        for place in layout.folder.iterdir() if layout.folder.is_dir() else ():
            if is_link(place):
                raise LaunchError(Reason.TEMPLATE_BROKEN, f"The terminal's folder {place.name} has become a link.")
        source = self._node.take(template)
        if changed := changed_programs(layout.folder, source):
            _log.warning("programs_restored", terminal=layout.root.name, changed=changed)
            forget_layout(layout.folder)
        lay_out(layout.folder, source, template.sha256, copied=True)
        for name in isolation.UPDATE_FOLDERS:
            (layout.folder / name).mkdir(exist_ok=True)
        for place in (layout.logs, self._orders(layout)):
            place.mkdir(exist_ok=True)

    def _make_user(self, layout: TerminalLayout) -> None:
        """The terminal's user with its rights and its task. The password is kept sealed, for nobody to read but us."""
        name, sealed = isolation.user_name(layout.root), self._kept(layout, "password")
        if sealed.exists():
            password = self._windows.unprotect(sealed.read_bytes()).decode()
        else:
            password = isolation.new_password()
            private_folder(sealed.parent)
            write_atomically(sealed, self._windows.protect(password.encode()))
        user, owner = self._windows.ensure_user(name, password, (isolation.GROUP,)), self._windows.own_sid()
        self._windows.set_rights(layout.root, isolation.shared_rights(owner, user))
        self._windows.set_rights(layout.folder, isolation.program_rights(owner, user))
        for folder in own_folders(layout.folder):
            closed = folder.name in isolation.UPDATE_FOLDERS
            rights = isolation.closed_rights(owner) if closed else isolation.shared_rights(owner, user)
            self._windows.set_rights(folder, rights)
        definition = isolation.task_definition(name, self._node.python, self._orders(layout), layout.root)
        self._windows.register_task(isolation.task_path(layout.root), definition, name, password)
        write_atomically(self._kept(layout, "sid"), user.encode())

    def start(self, spec: TerminalSpec) -> Handle:
        folder = spec.layout.folder
        # The ini's name is all that the command line says; the terminal reads it from its own config folder.
        command = (str(folder / PROGRAM), "/portable", f"/config:{spec.layout.startup}")
        program = Program(command, folder)
        return self._launch(spec.layout, self._slot(spec, Role.TERMINAL), program, self._node.limits, spec.fingerprint)

    def start_worker(self, spec: TerminalSpec, fingerprint: str) -> Handle:
        layout = spec.layout
        layout.worker_socket.unlink(missing_ok=True)
        command = (str(self._node.python), *worker_command(layout, self._node.modules.worker)[1:])
        program = Program(command, layout.root, layout.logs / "worker.log", {"OPENBLAS_NUM_THREADS": "1"})
        limits = JobLimits(memory=self._node.worker_memory, processes=_WORKER_PROCESSES)
        return self._launch(layout, self._slot(spec, Role.WORKER), program, limits, fingerprint)

    def _launch(
        self, layout: TerminalLayout, slot: Slot, program: Program, limits: JobLimits, fingerprint: str
    ) -> Handle:
        job = isolation.job_name(layout.root, _LETTER[slot.role])
        try:
            # Whatever an earlier one has left behind in the job would count against the limits of the new one.
            self._windows.terminate_job(job)
            self._windows.make_job(job, limits, self._user(layout))
            key = self._session(layout).launch(Launch(program, job))
        except (WindowsCallError, TimeoutError) as error:
            raise LaunchError(Reason.TEMPLATE_BROKEN, f"The {slot.role.value} cannot be started: {error}.") from error
        except OSError as error:
            raise LaunchError.of(error, f"The {slot.role.value} cannot be started") from error
        return self._roster.enter(self._handle(layout, slot, key, job, fingerprint))

    def inspect(self, spec: TerminalSpec) -> Handle | None:
        return self._roster.running(self._slot(spec, Role.TERMINAL))

    def stop(self, spec: TerminalSpec, grace: float) -> None:
        self._roster.stop(self._slot(spec, Role.TERMINAL), grace)
        self.forget_credentials(spec)

    def destroy(self, spec: TerminalSpec) -> None:
        layout = spec.layout
        try:
            for letter in _LETTER.values():
                self._windows.terminate_job(isolation.job_name(layout.root, letter))
            if self._user(layout) is not None:
                self._windows.remove_task(isolation.task_path(layout.root))
                self._windows.remove_user(isolation.user_name(layout.root))
        except WindowsCallError as error:
            raise LaunchError(Reason.TEMPLATE_BROKEN, f"The terminal's user cannot be removed: {error}.") from error
        self._remove(self._kept(layout, "sid").parent)
        self._remove(layout.root)

    def _remove(self, root: Path) -> None:
        for left in reversed(range(_DESTROY_TRIES)):
            try:
                shutil.rmtree(root)
            except FileNotFoundError:
                return
            except OSError as error:
                if not left:
                    raise LaunchError.of(error, "The terminal's folder cannot be removed") from error
                self._wait(_DESTROY_SECONDS)
            else:
                return

    def recover(self, specs: Sequence[TerminalSpec]) -> list[Handle]:
        found = []
        for spec in specs:
            for role, letter in _LETTER.items():
                slot, job = self._slot(spec, role), isolation.job_name(spec.layout.root, letter)
                if self._roster.running(slot) is not None:
                    continue
                key = self._first_in(job)
                if key is not None:
                    found.append(self._roster.enter(self._handle(spec.layout, slot, key, job, ADOPTED)))
        return found

    def _first_in(self, job: str) -> ProcessKey | None:
        """The process that was started by us, which is the oldest of the job's; the others are its children."""
        try:
            stats = self._windows.job_stats(job)
            keys = [self._windows.key_of(pid) for pid in stats.processes] if stats else []
        except WindowsCallError as error:
            raise LaunchError(Reason.TEMPLATE_BROKEN, f"The job {job} cannot be looked at: {error}.") from error
        return min((key for key in keys if key), key=lambda key: key.created, default=None)

    def stats(self, spec: TerminalSpec) -> Usage | None:
        handle = self.inspect(spec)
        if handle is None:
            return None
        with suppress(WindowsCallError):
            stats = self._windows.job_stats(handle.facts[JOB])
            if stats is not None:
                return Usage(stats.memory, stats.cpu_seconds, len(stats.processes))
        return None

    def forget_credentials(self, spec: TerminalSpec) -> None:
        spec.layout.startup.unlink(missing_ok=True)

    def worker_seat(self, spec: TerminalSpec) -> WorkerSeat:
        return WorkerSeat("native", {"path": str(spec.layout.folder / PROGRAM), "portable": True})

    def _slot(self, spec: TerminalSpec, role: Role) -> Slot:
        return Slot(role, spec.terminal_id)

    def _orders(self, layout: TerminalLayout) -> Path:
        return layout.root / "orders"

    def _kept(self, layout: TerminalLayout, name: str) -> Path:
        """What we keep of a terminal where its user, who writes to its own folder, has no rights."""
        return layout.root.parents[1] / "users" / layout.root.name / name

    def _user(self, layout: TerminalLayout) -> str | None:
        """SID of the terminal's user; None when it runs as ours."""
        noted = self._kept(layout, "sid")
        return noted.read_text() if noted.exists() else None

    def _session(self, layout: TerminalLayout) -> Session:
        if self._user(layout) is None:
            return OwnSession(self._windows)
        user = isolation.user_name(layout.root)
        return TaskSession(self._windows, isolation.task_path(layout.root), user, self._orders(layout), self._wait)

    def _handle(self, layout: TerminalLayout, slot: Slot, key: ProcessKey, job: str, fingerprint: str) -> Handle:
        facts = {JOB: job, CREATED: str(key.created)}
        if self._user(layout) is not None:
            facts |= {
                TASK: isolation.task_path(layout.root),
                USER: isolation.user_name(layout.root),
                ORDERS: str(self._orders(layout)),
            }
        birth = birth_of(key.pid) if self._windows.is_running(key) else None
        return Handle(slot, key.pid, birth or f"stillborn:{key.created}", self._clock(), fingerprint, KIND, facts)
