"""The contract of a runtime: one way to run terminals, and the bridge worker beside each.

The agent calls, for each terminal: `prepare` before every `start`; `start` only while `inspect` says that nothing runs;
`start_worker` only while no worker runs, with its configuration on disk; `forget_credentials` once the broker has
accepted the login; `stop` at any time; `destroy` only when stopped; `recover` once after a restart of the agent.
All calls block and are made from worker threads, never two at a time for a terminal, except `stats`, which may come at
any time.

What is started must outlive the agent, is entered in the roster before `start` returns, and is ended from its handle
alone by the engine of its kind (`node_agent.process.Engine`): so also by the watchdog, while the agent hangs.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from node_agent.layout import TerminalLayout
from node_agent.process import Handle
from node_agent.protocol.messages import Reason, TemplateRef
from node_agent.protocol.sealing import Credentials


class LaunchError(Exception):
    """A terminal could not be prepared or started. `str()` is safe to show."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    @classmethod
    def of(cls, error: OSError, sentence: str) -> LaunchError:
        """What the system refused: a full disk is told from everything else. `sentence` has no full stop."""
        if error.errno == errno.ENOSPC:
            return cls(Reason.DISK_FULL, f"{sentence}: the disk of the node is full.")
        return cls(Reason.TEMPLATE_BROKEN, f"{sentence}: {error.strerror or str(error) or type(error).__name__}.")


@dataclass(frozen=True)
class TerminalSpec:
    """What a runtime needs to know of one terminal."""

    terminal_id: str
    server: str
    server_address: str | None
    layout: TerminalLayout
    fingerprint: str
    template: TemplateRef | None = None
    """What to lay out the terminal's folder from; simulated terminals need none."""


@dataclass(frozen=True)
class Capabilities:
    """What a runtime does beyond running terminals."""

    real_mt5: bool = False
    """It runs MetaTrader 5 itself, from a terminal template."""
    memory_limit: bool = False
    """A terminal that takes too much memory is ended, and alone."""
    cpu_limit: bool = False
    own_network: bool = False
    """A terminal has its own network, so that its outgoing address can be chosen."""
    isolates_users: bool = False
    """A terminal cannot read the files, nor see the processes, of another one or of the agent."""
    view: bool = False
    """Its screen can be shown."""


@dataclass(frozen=True)
class Usage:
    """What a terminal uses, with its bridge worker where the two cannot be told apart."""

    memory: int
    """Bytes that the machine would have back without it."""
    cpu_seconds: float
    """Processor time since it was started."""
    processes: int


def _share_nothing(path: Path) -> None:
    """For workers that run as the agent's own user, who can read everything."""


@dataclass(frozen=True)
class WorkerSeat:
    """Where a terminal's bridge worker sits: how it reaches the terminal, and what its files are called there."""

    backend: str
    options: Mapping[str, Any]
    """Of the bridge backend."""
    inside: Callable[[Path], str] = str
    """The name, where the worker runs, of a file of the terminal's layout."""
    share: Callable[[Path], None] = _share_nothing
    """Let the worker read a private file of the terminal's layout that was just written. Raises OSError."""


class Runtime(Protocol):
    """One way to run terminals. Methods raise LaunchError, and StorageError from the roster."""

    name: str
    capabilities: Capabilities

    def prepare(self, spec: TerminalSpec, credentials: Credentials) -> None:
        """Make the folder ready, with the start-up file that holds the credentials (0600)."""

    def start(self, spec: TerminalSpec) -> Handle:
        """Start the terminal so that it outlives the agent. Returns before it has logged in."""

    def inspect(self, spec: TerminalSpec) -> Handle | None:
        """The running terminal, or None. Cheap: asked once or twice a second."""

    def stop(self, spec: TerminalSpec, grace: float) -> None:
        """Ask it to end, force it after `grace` seconds; removes the credentials from disk.

        Raises TimeoutError when it has not ended: then nothing may be started in its place.
        """

    def destroy(self, spec: TerminalSpec) -> None:
        """Remove everything of the terminal from this machine. Nothing to remove is no error."""

    def recover(self, specs: Sequence[TerminalSpec]) -> list[Handle]:
        """Enter in the roster what runs of these terminals, workers included, and is missing there: what was started
        just before an agent died. The handles that were missing.
        """

    def stats(self, spec: TerminalSpec) -> Usage | None:
        """What the running terminal uses; None when it does not run or nobody knows."""

    def forget_credentials(self, spec: TerminalSpec) -> None:
        """Remove the start-up file; the terminal has read it. Nothing to remove is no error."""

    def worker_seat(self, spec: TerminalSpec) -> WorkerSeat:
        """What the worker's configuration must say here."""

    def start_worker(self, spec: TerminalSpec, fingerprint: str) -> Handle:
        """Start the bridge worker with the configuration on disk, so that it outlives the agent and can be ended alone.

        May be called while no terminal runs; then either the worker waits for the terminal, or LaunchError.
        """
