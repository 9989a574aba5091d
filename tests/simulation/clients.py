"""Clients with tickets: sessions through the gateway to the worker, kept open much longer than is good."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from control_plane.access.port import Target
from control_plane.container import Farm
from mt5_bridge.refusals import RefusedError as WorkerRefusal
from mt5_bridge.service import BridgeService
from node_agent.gateway.admission import Admission
from node_agent.gateway.configuration import GatewayConfig, Route, Routes
from node_agent.gateway.hello import RefusedError
from node_agent.process import Role
from node_agent.protocol.tickets import Scope
from tests.simulation.database import CrashError
from tests.simulation.processes import WorkerProcess

if TYPE_CHECKING:
    from node_agent.protocol.tickets import Ticket
    from tests.simulation.world import Node, World

_NOWHERE = Path("/nonexistent")
_ASKS_AFTER = (0.0, 8.0, 16.0)
_COMES_AFTER = tuple(float(seconds) for seconds in range(20, 84, 7))
"""Seconds; a ticket is good for sixty."""


@dataclass
class Session:
    """An open connection through a gateway to one worker process."""

    node: Node
    ticket: Ticket
    worker: WorkerProcess


@dataclass(frozen=True)
class _Held:
    """A ticket in the hands of a client."""

    node: Node
    terminal_id: str
    text: str


class _Redeemed:
    """Ids of used tickets; in reality a file that outlives the gateway."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def redeem(self, ticket_id: str, _now: float) -> bool:
        known = ticket_id in self._used
        self._used.add(ticket_id)
        return not known


class Clients:
    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._tickets: list[_Held] = []
        self._admitted: set[str] = set()
        self._sessions: list[Session] = []
        self._redeemed = _Redeemed()
        self._orders = 0

    async def trade(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 12.0))
            act = self._chance.choices((self._ask_for_ticket, self._open_any, self._send_over_any), (1, 1, 4))[0]
            act()

    def come_back_to(self, terminal_id: str) -> None:
        """Somebody gets tickets for this terminal now, and comes with them a little later."""
        later = self._world.network.later
        for delay in _ASKS_AFTER:
            later(delay, lambda: self._ask_for_ticket(terminal_id))
        for delay in _COMES_AFTER:
            later(delay, lambda: self._come(terminal_id))

    def _come(self, terminal_id: str) -> None:
        for held in [each for each in self._tickets if each.terminal_id == terminal_id][-len(_ASKS_AFTER) :]:
            session = self._open(held)
            if session is not None:
                self._send(session)

    def _ask_for_ticket(self, only: str = "") -> None:
        rows = self._world.database.query(
            "SELECT terminal_id, node_id, epoch FROM assignments WHERE released_at IS NULL ORDER BY terminal_id"
        )
        rows = [row for row in rows if not only or row[0] == only]
        plane = self._world.plane
        if not rows or plane.process is None or not plane.process.running:
            return
        terminal_id, node_id, epoch = self._chance.choice(rows)
        target = Target(terminal_id, node_id, "127.0.0.1:4443", epoch)

        def issue(farm: Farm) -> str:
            return farm.tickets.issue(target, Scope.TRADE, "user:somebody").text

        node = next(each for each in self._world.nodes if each.identity.node_id == node_id)
        try:
            self._tickets.append(_Held(node, terminal_id, plane.perform(issue)))
        except CrashError:
            return

    def _open_any(self) -> None:
        if self._tickets:
            self._open(self._chance.choice(self._tickets))

    def _open(self, held: _Held) -> Session | None:
        """None when gateway or worker are not there, or do not let it in."""
        node, host = held.node, held.node.host
        if not host.powered or host.frozen or self._world.plane.farm is None:
            return None
        routes = Routes(
            keys=self._world.ticket_keys(),
            terminals={
                terminal_id: Route(epoch=epoch, worker=_NOWHERE, token_file=_NOWHERE)
                for terminal_id, epoch in host.routes.items()
            },
        )
        config: Any = GatewayConfig(
            listen="127.0.0.1:4443",
            node_id=node.identity.node_id,
            certificate=_NOWHERE,
            key=_NOWHERE,
            routes=_NOWHERE,
            redeemed=_NOWHERE,
            ready=_NOWHERE,
        )
        redeemed: Any = self._redeemed
        try:
            ticket, _ = Admission(config, lambda: routes, redeemed, host.clocks.wall).admit(held.text)
        except RefusedError:
            return None
        if ticket.ticket_id in self._admitted:
            self._world.break_rule("a ticket opened a second session")
        self._admitted.add(ticket.ticket_id)
        worker = self._worker(node, ticket.terminal_id)
        if worker is None:
            return None
        session = Session(node, ticket, worker)
        self._sessions.append(session)
        self._world.counts["sessions"] += 1
        return session

    def _worker(self, node: Node, terminal_id: str) -> WorkerProcess | None:
        for process in node.host.of_role(Role.WORKER):
            if isinstance(process, WorkerProcess) and process.slot.owner == terminal_id and process.ready:
                return process
        return None

    def _send_over_any(self) -> None:
        """That is still open, however old."""
        self._sessions = [each for each in self._sessions if each.worker.alive]
        if self._sessions:
            self._send(self._chance.choice(self._sessions))

    def _send(self, session: Session) -> None:
        if not session.worker.running:
            return
        try:
            _check_epoch(session)
        except WorkerRefusal:
            self._world.counts["refused by worker"] += 1
            return
        terminal = session.worker.terminal()
        if terminal is not None and not session.worker.lease.over():
            self._orders += 1
            deal = terminal.trade(f"order-{self._orders}", session.ticket.epoch)
            self._world.counts["client trades"] += deal is not None


def _check_epoch(session: Session) -> None:
    """The bridge's own judgement, on a session that is none of its own."""
    service: Any = SimpleNamespace(
        _session=SimpleNamespace(epoch=session.ticket.epoch),
        _terminal=SimpleNamespace(desk=SimpleNamespace(mandate=SimpleNamespace(epoch=session.worker.epoch))),
    )
    BridgeService._check_epoch(service)
