"""Placement as operators see it."""

from __future__ import annotations

from collections import Counter

from sqlalchemy.orm import Session

from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState
from control_plane.placement import repository
from control_plane.placement.board import Board
from control_plane.placement.candidates import DEFAULT_POOL, Demands, candidates
from control_plane.placement.decision import REAL_RUNTIMES, SIMULATED_RUNTIME, Demand, PoolStrategy
from control_plane.placement.model import Pool
from control_plane.placement.neighbours import Neighbours
from control_plane.placement.operations import require_terminal
from control_plane.placement.schemas import (
    DemandOut,
    ExplanationOut,
    NodeVerdictOut,
    PlacementOut,
    PoolOut,
    TenantPlacementOut,
    WaitingOut,
)
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.repository import Waiting
from control_plane.terminals.state import Hold, Intent, should_run


def present_pools(session: Session) -> list[PoolOut]:
    """With `default`, which is there also when nobody has ever changed it."""
    rows: dict[str, Pool | None] = {DEFAULT_POOL: None} | {each.name: each for each in repository.pools(session)}
    nodes = repository.nodes_by_pool(session)
    return [
        PoolOut(
            name=name,
            strategy=PoolStrategy(row.strategy) if row else PoolStrategy.SPREAD,
            labels=row.labels if row else {},
            terminal_memory=row.terminal_memory if row else None,
            nodes=nodes.get(name, 0),
        )
        for name, row in sorted(rows.items())
    ]


def present_tenants(session: Session) -> list[TenantPlacementOut]:
    rows = {each.tenant_id: each for each in repository.tenant_placements(session)}
    own = Counter(node.dedicated_tenant_id for node in repository.nodes(session))
    return [
        TenantPlacementOut(
            tenant_id=tenant.id,
            name=tenant.name,
            pool=(rows[tenant.id].pool if tenant.id in rows else "") or DEFAULT_POOL,
            only_dedicated=tenant.id in rows and rows[tenant.id].only_dedicated,
            dedicated_nodes=own[tenant.id],
        )
        for tenant in repository.tenants(session)
    ]


def present_waiting(row: Waiting) -> WaitingOut:
    return WaitingOut(
        terminal_id=row.terminal.id,
        account_id=row.account.id,
        tenant_id=row.account.tenant_id,
        login=row.account.login,
        server=row.account.server,
        since=row.terminal.changed_at,
        note=row.terminal.placement_note,
    )


def present_placement(session: Session, terminal_id: str) -> PlacementOut:
    """Raises NotFoundError."""
    terminal = require_terminal(session, terminal_id)
    row = terminals_repository.with_account(session, terminal_id)
    living = assignments_repository.alive(session, terminal.tenant_id, terminal_id)
    runs = should_run(Intent(terminal.intent), Hold(terminal.hold))
    demand, now = _judge_now(session, row)
    return PlacementOut(
        terminal_id=terminal.id,
        account_id=row.account.id,
        tenant_id=terminal.tenant_id,
        login=row.account.login,
        server=row.account.server,
        waiting_since=terminal.changed_at if runs and living is None else None,
        note=terminal.placement_note,
        demand=_present_demand(demand),
        node_id=living.node_id if living else None,
        assignment=AssignmentState(living.state) if living else None,
        reserved_at=living.reserved_at if living else None,
        memory=living.memory if living else None,
        then=_present_kept(living),
        now=now,
    )


def _judge_now(session: Session, row: Waiting) -> tuple[Demand, ExplanationOut]:
    nodes = candidates(session)
    real = {row.server.company} if row.server.simulated_address is None else set()
    neighbours = Neighbours(session, real, {node.node_id: node.address for node in nodes})
    demand = Demands(session, neighbours).of(row.terminal, row.account, row.server)
    board = Board(nodes)
    explained = board.place(demand).explanation
    verdicts = [NodeVerdictOut(**each._asdict()) for each in board.verdicts(demand)]
    return demand, ExplanationOut.model_validate(explained.as_json()).model_copy(update={"nodes": verdicts})


def _present_demand(demand: Demand) -> DemandOut:
    requirement = demand.requirement
    runtimes = (SIMULATED_RUNTIME,) if requirement.simulated else REAL_RUNTIMES
    return DemandOut(
        pool=requirement.pool,
        region=requirement.region,
        labels=dict(sorted(requirement.labels)),
        only_dedicated=requirement.only_dedicated,
        memory=min(requirement.memory_of(each) for each in runtimes),
    )


def _present_kept(living: Assignment | None) -> ExplanationOut | None:
    return None if living is None or living.explanation is None else ExplanationOut.model_validate(living.explanation)
