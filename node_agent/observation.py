"""What the agent has seen of one terminal, as plain values: the input of `plan` and `health`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from node_agent.protocol.messages import AccountSnapshot, Guard, ObservedGuard, Reason
from node_agent.quarantine import NO_STRIKES, Strikes
from node_agent.restarts import NO_EXITS, Restarts

REFUSALS_BEFORE_HOLD = 2
"""Brokers lock accounts after a few wrong passwords: one retry, then hold."""


class Link(StrEnum):
    """How far a question to the terminal got."""

    NO_WORKER = "no_worker"
    """The bridge worker did not answer."""
    NO_TERMINAL = "no_terminal"
    """The worker answered, the terminal's IPC did not."""
    CONNECTING = "connecting"
    """The terminal is up and has no session with the broker."""
    REFUSED = "refused"
    """The broker refused login or password."""
    AUTHORISED = "authorised"
    """`account_info()` was answered."""


@dataclass(frozen=True)
class Probe:
    """One round of questions to a terminal. Times are seconds since 1970, UTC."""

    link: Link
    at: float
    login: int = 0
    server: str = ""
    connected: bool = False
    """The terminal has its broker connection right now."""
    trade_allowed: bool = False
    account: AccountSnapshot | None = None
    flat: bool | None = None
    """Neither positions nor pending orders; None when it is not known."""
    build: int | None = None
    """Of the terminal, as it says itself."""
    quote_moved_at: float | None = None
    """When the newest quote of Market Watch was last seen to change."""
    guard: ObservedGuard | None = None
    """What the worker's guard says; None while it guards nothing."""


@dataclass(frozen=True)
class Running:
    """A live process of ours."""

    pid: int
    started_at: float
    fingerprint: str


@dataclass(frozen=True)
class Problem:
    """Why the last attempt to start the terminal or its worker failed before there was a process."""

    reason: Reason
    detail: str
    permanent: bool = False
    """Trying again with the same wish cannot help."""
    wish: str = ""
    """`plan.wish_fingerprint` of the wish that failed."""


@dataclass(frozen=True)
class BotView:
    running: Running | None = None
    restarts: Restarts = NO_EXITS
    phase: str = ""
    """What the bot says of itself: starting, running or failed."""
    detail: str = ""
    failed_fingerprint: str | None = None
    """Settings with which the bot gave up for good."""


@dataclass(frozen=True)
class TerminalView:
    """Everything that decisions about one terminal rest on."""

    terminal_id: str
    in_flight: bool = False
    """An action is being carried out."""
    terminal: Running | None = None
    worker: Running | None = None
    bots: Mapping[str, BotView] = field(default_factory=dict)
    restarts: Restarts = NO_EXITS
    out_of_memory: bool = False
    """The terminal was last ended by its memory limit."""
    worker_restarts: Restarts = NO_EXITS
    wedges: tuple[float, ...] = ()
    """When workers were lost to calls that never returned."""
    refused_version: int = 0
    refusals: int = 0
    probe: Probe | None = None
    """Newest probe of the present worker."""
    probe_started_at: float | None = None
    """Start of a probe that has not returned yet."""
    watched_since: float = 0.0
    """Since when this agent process has looked at the terminal."""
    last_answer_at: float | None = None
    authorised_since: float | None = None
    """When the present terminal process was first seen logged in."""
    was_ready: bool = False
    """The present terminal process has been ready."""
    applied_guard: Guard | None = None
    problem: Problem | None = None
    strikes: Strikes = NO_STRIKES
    finished_requests: tuple[str, ...] = ()

    def held(self, credentials_version: int) -> bool:
        """Whether these credentials were refused so often that they must not be tried again."""
        return self.refusals >= REFUSALS_BEFORE_HOLD and credentials_version <= self.refused_version
