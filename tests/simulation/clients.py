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


@dataclass
class Session:
    """An open connection through a gateway to one worker process."""

    node: Node
    ticket: Ticket
    worker: WorkerProcess


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
        self._tickets: list[tuple[Node, str]] = []
        self._sessions: list[Session] = []
        self._redeemed = _Redeemed()
        self._orders = 0

    async def trade(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 12.0))
            act = self._chance.choices((self._ask_for_ticket, self._open, self._send), (1, 1, 4))[0]
            act()

    def _ask_for_ticket(self) -> None:
        rows = self._world.database.query(
            "SELECT terminal_id, node_id, epoch FROM assignments WHERE released_at IS NULL ORDER BY terminal_id"
        )
        plane = self._world.plane
        if not rows or plane.process is None or not plane.process.running:
            return
        terminal_id, node_id, epoch = self._chance.choice(rows)
        target = Target(terminal_id, node_id, "127.0.0.1:4443", epoch)

        def issue(farm: Farm) -> str:
            return farm.tickets.issue(target, Scope.TRADE, "user:somebody").text

        node = next(each for each in self._world.nodes if each.identity.node_id == node_id)
        try:
            self._tickets.append((node, plane.perform(issue)))
        except CrashError:
            return

    def _open(self) -> None:
        if not self._tickets:
            return
        node, text = self._chance.choice(self._tickets)
        host = node.host
        if not host.powered or host.frozen or self._world.plane.farm is None:
            return
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
            ticket, _ = Admission(config, lambda: routes, redeemed, host.clocks.wall).admit(text)
        except RefusedError:
            return
        worker = self._worker(node, ticket.terminal_id)
        if worker is not None:
            self._sessions.append(Session(node, ticket, worker))
            self._world.counts["sessions"] += 1

    def _worker(self, node: Node, terminal_id: str) -> WorkerProcess | None:
        for process in node.host.of_role(Role.WORKER):
            if isinstance(process, WorkerProcess) and process.slot.owner == terminal_id and process.ready:
                return process
        return None

    def _send(self) -> None:
        """Over any session that is still open, however old."""
        self._sessions = [each for each in self._sessions if each.worker.alive]
        if not self._sessions:
            return
        session = self._chance.choice(self._sessions)
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
