"""The fleet as placement sees it: nodes and demands, read from the database and put into the terms of the decision."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.brokers.model import BrokerServer
from control_plane.fleet.state import Availability, IdentityState, NodeState
from control_plane.placement import repository
from control_plane.placement.decision import Candidate, Demand, PoolStrategy, Refusal, Requirement
from control_plane.placement.neighbours import Neighbours
from control_plane.placement.repository import NOTHING, Load
from control_plane.terminals.model import Terminal

DEFAULT_POOL = "default"
_NEEDED = frozenset({"memory", "disk"})
_RESERVE_SHARE, _RESERVE = 0.06, 256 << 20
"""What must stay free, as the agent has it too: below it starts nothing."""
_CLOSED = {
    Availability.CORDONED: Refusal.CORDONED,
    Availability.DRAINING: Refusal.DRAINING,
    Availability.QUARANTINED: Refusal.QUARANTINED,
}


def candidates(session: Session) -> list[Candidate]:
    """All nodes."""
    held = repository.loads(session)
    return [candidate_of(node, held.get(node.id, NOTHING)) for node in repository.nodes(session)]


def held_candidates(session: Session, node_ids: list[str]) -> list[Candidate]:
    """These nodes as they are now, and nobody changes them before the transaction ends."""
    rows = repository.hold_nodes(session, node_ids)
    held = repository.loads(session, node_ids)
    return [candidate_of(node, held.get(node.id, NOTHING)) for node in rows]


def candidate_of(node: Row[Any], load: Load) -> Candidate:
    return Candidate(
        node_id=node.id,
        name=node.name,
        runtimes=frozenset(node.runtimes),
        slots=node.slots,
        used=load.slots + node.strays,
        pool=node.pool,
        region=node.region,
        labels=frozenset(node.labels.items()),
        dedicated_to=node.dedicated_tenant_id,
        # A node of which neither is known is taken to have an address of its own.
        address=node.outgoing_address or node.seen_from or node.id,
        memory=free_memory(node.report, load),
        obstacle=obstacle_of(node.state, node.identity_state, node.availability, node.report),
    )


def obstacle_of(state: str, identity_state: str, availability: str, report: dict[str, Any]) -> Refusal | None:
    """Why a node takes nothing at present. An agent that is short of memory or disk would leave a terminal waiting."""
    if identity_state != IdentityState.TRUSTED:
        return Refusal.IDENTITY
    if state != NodeState.ONLINE:
        return Refusal.OFFLINE
    if availability != Availability.OPEN:
        return _CLOSED[Availability(availability)]
    return None if _NEEDED.isdisjoint(report.get("pressure", [])) else Refusal.PRESSURE


def free_memory(report: dict[str, Any], load: Load) -> int | None:
    """Bytes that may still be promised; None before the first report.

    Never more than the machine has, less what is promised; nor than it has free now, less what is about to start.
    """
    if "memory_total" not in report:
        return None
    total, available = int(report["memory_total"]), int(report["memory_available"])
    reserve = max(_RESERVE, int(total * _RESERVE_SHARE))
    return min(total - load.memory, available - load.unstarted) - reserve


class Demands:
    """Puts together what terminal, tenant and pool ask for."""

    def __init__(self, session: Session, neighbours: Neighbours | None = None) -> None:
        self._pools = {each.name: each for each in repository.pools(session)}
        self._tenants = {each.tenant_id: each for each in repository.tenant_placements(session)}
        self._neighbours = neighbours

    def of(self, terminal: Terminal, account: Account, server: BrokerServer) -> Demand:
        company = "" if server.simulated_address is not None else server.company
        shared: frozenset[str] = frozenset()
        if company and self._neighbours is not None:
            shared = self._neighbours.addresses_of_others(company, account.user_id)
        return Demand(
            self._requirement(terminal, server),
            avoid_node_id=terminal.avoid_node_id,
            prefer_node_id=terminal.preferred_node_id,
            company=company,
            shared_addresses=shared,
        )

    def _requirement(self, terminal: Terminal, server: BrokerServer) -> Requirement:
        tenant = self._tenants.get(terminal.tenant_id)
        name = terminal.wanted_pool or (tenant.pool if tenant else "") or DEFAULT_POOL
        pool = self._pools.get(name)
        labels = frozenset(pool.labels.items()) if pool else frozenset()
        return Requirement(
            simulated=server.simulated_address is not None,
            tenant_id=terminal.tenant_id,
            pool=name,
            strategy=PoolStrategy(pool.strategy) if pool else PoolStrategy.SPREAD,
            region=terminal.wanted_region,
            labels=labels | frozenset(terminal.wanted_labels.items()),
            only_dedicated=tenant is not None and tenant.only_dedicated,
            terminal_memory=pool.terminal_memory if pool else None,
        )
