"""The parts of an agent that are the real ones but for what they stand on, and what its terminals answer."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from node_agent.agent import Agent
from node_agent.clock import as_datetime
from node_agent.config import Timing
from node_agent.continuity import read_continuity
from node_agent.database import Database
from node_agent.observation import Link, Probe
from node_agent.probation import Probation
from node_agent.protocol.messages import AccountSnapshot, DesiredSnapshot, DesiredTerminal
from node_agent.spool import Spool
from node_agent.sync import Description, SyncLoop
from tests.simulation.network import SimLink
from tests.simulation.processes import Reporter, TerminalProcess, WorkerProcess

if TYPE_CHECKING:
    from tests.simulation.agent import SimAgent

TIMING = Timing(tick=4.0, sync_floor=4.0, events=12.0)
"""The product's durations, but for what would only cost time here."""
SERVER = "MT5Farm-Demo"


class WatchedSpool(Spool):
    """Tells what leaves it."""

    def __init__(self, disk: Database, reporter: Reporter) -> None:
        super().__init__(disk)
        self._reporter = reporter

    def remove(self, event_ids: Iterable[str]) -> None:
        leaving = set(event_ids)
        self._reporter.spool_removed([event for event in self.oldest() if event.event_id in leaving])
        super().remove(leaving)


class AgentCore(Agent):
    """The real agent's own answers to a sync and to a start, with simulated parts around them."""

    def __init__(self, shell: SimAgent, link: SimLink) -> None:
        host = shell.host
        self._shell = shell
        parts: Any = SimpleNamespace(layout=host.layout, clocks=host.clocks.moment)
        self._settings = parts
        self._state = shell.state
        self._lifeline = shell.lifeline
        self._supervisor = _stand_in(shell)
        self._gateway = _stand_in(shell)
        boot = host.clocks.moment().boot
        self._snapshot = self._state.snapshot(boot)
        self._probation = Probation(self._state.used_in_other_start(boot))
        self._held_back = None
        self._snapshot_saved = True
        self._ticket_keys = []
        self._continuity = read_continuity(host.layout)
        self._clock_offset = None
        known = self._snapshot.generation if self._snapshot else 0
        self._sync = SyncLoop(as_link(link), TIMING, host.clocks.moment, known, self._describe, self._apply)

    @property
    def sync(self) -> SyncLoop:
        return self._sync

    @property
    def snapshot(self) -> DesiredSnapshot | None:
        return self._snapshot

    def begin(self) -> None:
        """What `run` does with what an earlier agent left."""
        if self._snapshot is not None:
            self._lifeline.protect(self._snapshot.terminals)
            self._supervisor.wish(self._snapshot)

    def _tidy_soon(self, templates: set[str], code: set[str]) -> None:
        """There are no templates here."""

    def _describe(self) -> Description:
        return Description(self._shell.node_report(), self._shell.observed(), self._continuity)


def as_link(link: SimLink) -> Any:
    """It has the methods of `ControlLink`."""
    return link


def _stand_in(shell: SimAgent) -> Any:
    """For the supervisor and the gateway's keeper: it is wished what should run."""
    return shell


def ask(worker: WorkerProcess, terminal: TerminalProcess | None, desired: DesiredTerminal, now: float) -> Probe:
    if not worker.ready:
        return Probe(Link.NO_WORKER, now)
    if terminal is None or terminal.frozen:
        return Probe(Link.NO_TERMINAL, now)
    if terminal.refused:
        return Probe(Link.REFUSED, now)
    if not terminal.logged_in:
        return Probe(Link.CONNECTING, now)
    positions = terminal.broker.accounts[terminal.login].positions
    # Not with each look: the control plane's equity curve is not what is tested here, and costs most.
    shown = positions != terminal.shown_positions
    terminal.shown_positions = positions
    account = AccountSnapshot(
        login=terminal.login,
        server=SERVER,
        currency="USD",
        balance=10_000.0,
        credit=0.0,
        profit=0.0,
        equity=10_000.0,
        margin=0.0,
        margin_free=10_000.0,
        positions=positions,
        broker_time=int(now),
        taken_at=as_datetime(now),
    )
    return Probe(
        Link.AUTHORISED,
        now,
        login=terminal.login,
        server=desired.server,
        connected=True,
        trade_allowed=True,
        account=account if shown else None,
        quote_moved_at=now,
    )
