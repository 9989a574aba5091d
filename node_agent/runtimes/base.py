"""The contract of a runtime: one way to run terminals.

The agent calls, for each terminal: `prepare` before every `start`; `start` only while `inspect` says that nothing runs;
`forget_credentials` once the broker has accepted the login; `stop` at any time; `destroy` only when stopped; `recover`
once after a restart of the agent. All calls block and are made from worker threads, never two at a time for a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from node_agent.layout import TerminalLayout
from node_agent.process import Handle
from node_agent.protocol.messages import Reason
from node_agent.protocol.sealing import Credentials


class LaunchError(Exception):
    """A terminal could not be prepared or started. `str()` is safe to show."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class TerminalSpec:
    """What a runtime needs to know of one terminal."""

    terminal_id: str
    server: str
    server_address: str | None
    layout: TerminalLayout
    fingerprint: str


class Runtime(Protocol):
    """One way to run terminals. Methods raise LaunchError, and StorageError from the roster."""

    name: str

    def prepare(self, spec: TerminalSpec, credentials: Credentials) -> None:
        """Make the folder ready, with the start-up file that holds the credentials (0600)."""

    def start(self, spec: TerminalSpec) -> Handle:
        """Start the terminal so that it outlives the agent. Returns at once, before it has logged in."""

    def inspect(self, spec: TerminalSpec) -> Handle | None:
        """The running process, or None."""

    def stop(self, spec: TerminalSpec, grace: float) -> None:
        """Ask it to end, force it after `grace` seconds; removes the credentials from disk."""

    def destroy(self, spec: TerminalSpec) -> None:
        """Remove everything of the terminal from disk."""

    def recover(self, spec: TerminalSpec) -> Handle | None:
        """Find the running process after a restart of the agent, even when its handle was never recorded."""

    def forget_credentials(self, spec: TerminalSpec) -> None:
        """Remove the start-up file; the terminal has read it."""

    def worker_backend(self, spec: TerminalSpec) -> tuple[str, dict[str, str]]:
        """Name and options of the bridge backend that reaches this terminal."""
