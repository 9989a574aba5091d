"""Windows itself, behind `port.Windows`. Only here does the agent touch its calls."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from node_agent.windows import accounts, confinement, dpapi, firewall, jobs, processes, rights, streams, tasks
from node_agent.windows.api import Owned, failure
from node_agent.windows.port import Confined, JobLimits, JobStats, ProcessKey, Program, WindowsCallError

_MOST_WATCHED: Final = 4096


class WindowsCalls:
    """Implements `port.Windows`. One for a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Owned] = {}
        """Held so that a job without processes keeps its name until one is put into it."""
        self._watched: dict[ProcessKey, Owned] = {}
        """Held so that the exit code of a process can be read after its end."""

    def launch(self, program: Program, job: str) -> ProcessKey:
        found = jobs.opened(job, jobs.ASSIGN | jobs.QUERY)
        if found is None:
            raise failure("OpenJobObject")
        try:
            with found as opened:
                started = processes.start_in_job(program, opened)
        except OSError as error:
            raise WindowsCallError(
                "CreateProcess", getattr(error, "winerror", None) or 0, error.strerror or ""
            ) from error
        self._watch(started)
        return started

    def launch_confined(self, program: Program, job: str, user: str, password: str) -> Confined:
        found = jobs.opened(job, jobs.ASSIGN)
        if found is None:
            raise failure("OpenJobObject")
        with found as opened:
            started = confinement.start(program, opened, user, password)
        self._watch(started.key)
        return started

    def key_of(self, pid: int) -> ProcessKey | None:
        return processes.key_of(pid)

    def is_running(self, process: ProcessKey) -> bool:
        self._watch(process)
        return processes.key_of(process.pid) == process

    def exit_code(self, process: ProcessKey) -> int | None:
        with self._lock:
            held = self._watched.get(process)
            if held is None or not processes.is_over(held.value):
                return None
            return processes.exit_code(held.value)

    def terminate(self, process: ProcessKey) -> None:
        processes.terminate(process)

    def ask_to_close(self, process: ProcessKey) -> int:
        return processes.post_close(process.pid) if self.is_running(process) else 0

    def make_job(self, name: str, limits: JobLimits, member_sid: str | None = None) -> None:
        if member_sid is None:
            handle = jobs.create(name, None)
        else:
            member = f"(A;;{jobs.ASSIGN | jobs.QUERY:#x};;;{member_sid})"
            everything = "".join(f"(A;;{jobs.ALL:#x};;;{sid})" for sid in ("SY", "BA", rights.own_sid()))
            with rights.descriptor(f"D:P{everything}{member}") as descriptor:
                handle = jobs.create(name, descriptor)
        owned = Owned("CreateJobObject", handle)
        jobs.set_limits(handle, limits)
        with self._lock:
            earlier, self._jobs[name] = self._jobs.get(name), owned
        if earlier is not None:
            earlier.__exit__()

    def job_limits(self, name: str) -> JobLimits | None:
        found = jobs.opened(name, jobs.QUERY)
        if found is None:
            return None
        with found as job:
            return jobs.limits_of(job)

    def job_stats(self, name: str) -> JobStats | None:
        found = jobs.opened(name, jobs.QUERY)
        if found is None:
            return None
        with found as job:
            pids = jobs.processes(job)
            memory = sum(processes.working_set(pid) for pid in pids)
            return JobStats(pids, memory, jobs.peak_memory(job), jobs.cpu_seconds(job))

    def terminate_job(self, name: str) -> None:
        found = jobs.opened(name, jobs.TERMINATE)
        if found is not None:
            with found as job:
                jobs.terminate(job, processes.ENDED_BY_US)
        with self._lock:
            held = self._jobs.pop(name, None)
        if held is not None:
            held.__exit__()

    def filters_network(self) -> bool:
        return firewall.is_on()

    def block_network(self, rule: str, group: str) -> None:
        firewall.block(rule, accounts.sid_of(group))

    def size_of(self, path: Path) -> int:
        return streams.size_of(path)

    def protect(self, secret: bytes) -> bytes:
        return dpapi.protect(secret)

    def unprotect(self, sealed: bytes) -> bytes:
        return dpapi.unprotect(sealed)

    def set_rights(self, path: Path, sddl: str) -> None:
        rights.set_rights(path, sddl)

    def rights(self, path: Path) -> str:
        return rights.rights(path)

    def own_sid(self) -> str:
        return rights.own_sid()

    def ensure_user(self, name: str, password: str, groups: Sequence[str]) -> str:
        return accounts.ensure_user(name, password, groups)

    def remove_user(self, name: str) -> None:
        accounts.remove_user(name)

    def processes_of(self, user: str) -> tuple[int, ...]:
        return accounts.processes_of(user)

    def session_of(self, user: str) -> int | None:
        return accounts.session_of(user)

    def register_task(self, path: str, xml: str, user: str, password: str) -> None:
        tasks.register(path, xml, user, password)

    def task_xml(self, path: str) -> str | None:
        return tasks.xml_of(path)

    def run_task(self, path: str, session: int | None) -> None:
        tasks.run(path, session)

    def remove_task(self, path: str) -> None:
        tasks.remove(path)

    def _watch(self, process: ProcessKey) -> None:
        """Keep a handle of a running process."""
        with self._lock:
            if process in self._watched:
                return
            found = processes.opened(process.pid, 0)
            if found is None:
                return
            if processes.is_over(found.value) or processes.created(found.value) != process.created:
                found.__exit__()
                return
            while len(self._watched) >= _MOST_WATCHED:
                self._watched.pop(next(iter(self._watched))).__exit__()
            self._watched[process] = found
