"""The programs on a node that trade: terminals with their Expert Advisors, and bridge workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mt5_bridge.lease import LeaseGuard
from node_agent.process import Role, Slot
from node_agent.protocol.messages import Event
from tests.simulation.broker import Broker, Deal
from tests.simulation.host import Host, OsProcess

_LOG_IN = (3.0, 6.0)
"""Seconds that connecting and logging in may take."""
SESSION_LAPSE = 20.0
"""Silence after which a broker drops a terminal's session, so that it has to log in again."""


class TerminalProcess(OsProcess):
    """MT5: logs in, stays logged in, and its Expert Advisors trade whenever they like."""

    def __init__(
        self,
        host: Host,
        slot: Slot,
        broker: Broker,
        login: int,
        password: str,
        epoch: int,
        node_id: str,
        report: Reporter,
        started_for: str,
    ) -> None:
        super().__init__(host, slot)
        self.terminal_id = slot.owner
        self.slot: Slot = slot
        self.broker = broker
        self.login = login
        self.password = password
        self.epoch = epoch
        """Under which the agent runs it now; rises when the agent is told a newer one for the same process."""
        self.node_id = node_id
        self.report = report
        self.logged_in = False
        self._log_in_at = 0.0
        self.refused = False
        self.may_restart = False
        """Its worker hung so often, or its agent died before it was recorded, that the agent may replace it."""
        self.started_for = started_for
        """Fingerprint of the wish that it was started for."""
        self.shown_positions: int | None = None
        """What the agent reported last."""
        self.spawn(self._live())

    @property
    def able(self) -> bool:
        """To trade, right now."""
        return self.running and self.logged_in and not self.host.broker_cut

    def drop_session(self) -> None:
        """It has to connect and log in anew, which takes its time."""
        self.logged_in = False
        self._log_in_at = self.loop.now + self.host.chance.uniform(*_LOG_IN)

    def trade(self, order_id: str = "", epoch: int | None = None) -> Deal | None:
        """An order reaches the broker. `epoch` is that of the session that sent it; None for an Expert Advisor."""
        if not self.able:
            return None
        deal = self.broker.execute(self.login, self.loop.now, order_id)
        self.report.traded(self, deal, self.epoch if epoch is None else epoch, order_id)
        return deal

    async def _live(self) -> None:
        chance = self.host.chance
        next_trade = self.loop.now + chance.uniform(20.0, 90.0)
        while True:
            await asyncio.sleep(chance.uniform(*_LOG_IN))
            if self.host.broker_cut:
                self.logged_in = False
            elif not self.logged_in and self.loop.now >= self._log_in_at:
                if self.broker.lets_in(self.login, self.password):
                    self.refused, self.logged_in = False, True
                    self.report.logged_in(self)
                elif not self.refused:
                    self.refused = True
                    self.report.refused(self)
            if self.logged_in and self.broker.open and self.loop.now >= next_trade:
                next_trade = self.loop.now + chance.uniform(30.0, 150.0)
                self.trade()


class WorkerProcess(OsProcess):
    """The bridge worker: reaches the terminal beside it, and refuses sessions of an older epoch."""

    def __init__(self, host: Host, slot: Slot, epoch: int, login: int) -> None:
        super().__init__(host, slot)
        self.slot: Slot = slot
        self.epoch = epoch
        self.login = login
        self.ready = False
        self.lease = LeaseGuard(host.layout.terminal(slot.owner).lease, host.clocks.moment)
        self.spawn(self._start())

    def terminal(self) -> TerminalProcess | None:
        found = [
            process
            for process in self.host.of_role(Role.TERMINAL)
            if isinstance(process, TerminalProcess) and process.terminal_id == self.slot.owner
        ]
        return found[-1] if found else None

    async def _start(self) -> None:
        await asyncio.sleep(self.host.chance.uniform(0.3, 1.5))
        self.ready = True


class Reporter:
    """Whom the processes tell what happened; the world listens."""

    def __init__(self) -> None:
        self.logged_in: Callable[[TerminalProcess], None] = lambda _process: None
        self.refused: Callable[[TerminalProcess], None] = lambda _process: None
        self.traded: Callable[[TerminalProcess, Deal, int, str], None] = lambda *_facts: None
        self.stopping: Callable[[TerminalProcess, str], None] = lambda *_facts: None
        """The farm itself is about to end a terminal: which, and why it says it does."""
        self.spool_removed: Callable[[list[Event]], None] = lambda _events: None
        self.events_rejected: Callable[[dict[str, str]], None] = lambda _reasons: None


class SimBridge:
    """What a monitor gets from a worker; as `node_agent.bridge.Bridge`, for the collector."""

    def __init__(self, worker: WorkerProcess, broker: Broker) -> None:
        self._worker = worker
        self._broker = broker

    def history_deals_get(self, date_from: int, date_to: int) -> tuple[Deal, ...]:
        deals = self._broker.accounts[self._worker.login].deals
        return tuple(deal for deal in deals if date_from <= deal.time <= date_to)

    def journal(self, after: int, count: int) -> list[dict[str, Any]]:
        rows = self._worker.host.journals.get(self._worker.slot.owner, [])
        changed = [row for row in rows if int(str(row["sequence"])) > after]
        return sorted(changed, key=lambda row: int(str(row["sequence"])))[:count]
