"""HTTP of placement, for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from control_plane.api_route import ApiRoute
from control_plane.fleet.operations import By, require_node
from control_plane.fleet.presentation import present_node_detail
from control_plane.fleet.schemas import Because, NodeDetailOut
from control_plane.http import FarmDep, OperatorDep
from control_plane.paging import Cursor, Limit, Page, decode_cursor, decode_moment, encode_cursor, split_page
from control_plane.placement.presentation import present_placement, present_pools, present_tenants, present_waiting
from control_plane.placement.schemas import (
    PlacementOut,
    PoolOut,
    SetDemand,
    SetNode,
    SetPool,
    SetTenant,
    TenantPlacementOut,
    WaitingOut,
    Word,
)
from control_plane.problems import problem_responses
from control_plane.terminals import repository as terminals_repository

router = APIRouter(tags=["placements"], route_class=ApiRoute)
_DEED = problem_responses(401, 403, 404, 409, 415, 422)
PoolName = Annotated[Word, Path()]


@router.get("/pools", responses=problem_responses(401, 403))
def list_pools(farm: FarmDep, _operator: OperatorDep) -> list[PoolOut]:
    """Sets of nodes that are placed alike. Every node is in one, every terminal asks for one."""
    with farm.database.read_as_system() as session:
        return present_pools(session)


@router.put("/pools/{pool_name}", responses=_DEED)
def set_pool(pool_name: PoolName, wish: SetPool, farm: FarmDep, operator: OperatorDep) -> list[PoolOut]:
    """Make a pool, or change how its nodes are filled. What runs stays where it is."""
    with farm.database.write_as_system() as session:
        farm.placement.set_pool(session, pool_name, wish, By(operator, wish.reason))
        return present_pools(session)


@router.post("/pools/{pool_name}/remove", responses=_DEED)
def remove_pool(pool_name: PoolName, because: Because, farm: FarmDep, operator: OperatorDep) -> list[PoolOut]:
    """Remove a pool that no node is in and nobody asks for."""
    with farm.database.write_as_system() as session:
        farm.placement.remove_pool(session, pool_name, By(operator, because.reason))
        session.flush()
        return present_pools(session)


@router.put("/nodes/{node_id}/placement", responses=_DEED)
def set_node_placement(node_id: str, wish: SetNode, farm: FarmDep, operator: OperatorDep) -> NodeDetailOut:
    """Pool, region, labels, tenant and outgoing address of a node. What runs there stays."""
    with farm.database.write_as_system() as session:
        farm.placement.set_node(session, node_id, wish, By(operator, wish.reason))
    with farm.database.read_as_system() as session:
        node = require_node(session, node_id, hold=False)
        return present_node_detail(session, node, farm.mass_loss, farm.clock.now())


@router.get("/tenant-placements", responses=problem_responses(401, 403))
def list_tenant_placements(farm: FarmDep, _operator: OperatorDep) -> list[TenantPlacementOut]:
    """All tenants with what holds for their terminals."""
    with farm.database.read_as_system() as session:
        return present_tenants(session)


@router.put("/tenant-placements/{tenant_id}", responses=_DEED)
def set_tenant_placement(
    tenant_id: str, wish: SetTenant, farm: FarmDep, operator: OperatorDep
) -> list[TenantPlacementOut]:
    """Which pool a tenant's terminals go to, and whether only to nodes that are kept for it."""
    with farm.database.write_as_system() as session:
        farm.placement.set_tenant(session, tenant_id, wish, By(operator, wish.reason))
        session.flush()
        return present_tenants(session)


@router.get("/placements", responses=problem_responses(401, 403, 422))
def list_waiting(farm: FarmDep, _operator: OperatorDep, cursor: Cursor = None, limit: Limit = 100) -> Page[WaitingOut]:
    """Terminals that should run and have no place, the one that waits longest first, each with its reason."""
    keys = decode_cursor(cursor, str, str)
    after = (decode_moment(keys[0]), keys[1]) if keys else None
    with farm.database.read_as_system() as session:
        rows = terminals_repository.waiting_after(session, after, limit + 1)
    page, last = split_page(rows, limit)
    return Page(
        items=[present_waiting(each) for each in page],
        next_cursor=encode_cursor(last.terminal.changed_at.isoformat(), last.terminal.id) if last else None,
    )


@router.get("/placements/{terminal_id}", responses=problem_responses(401, 403, 404))
def get_placement(terminal_id: str, farm: FarmDep, _operator: OperatorDep) -> PlacementOut:
    """Why a terminal is where it is: what was decided then, and what every node would say now."""
    with farm.database.read_as_system() as session:
        return present_placement(session, terminal_id)


@router.put("/placements/{terminal_id}/demand", responses=_DEED)
def set_demand(terminal_id: str, wish: SetDemand, farm: FarmDep, operator: OperatorDep) -> PlacementOut:
    """What a terminal asks of its next node. It is not moved for it."""
    with farm.database.write_as_system() as session:
        farm.placement.set_demand(session, terminal_id, wish, By(operator, wish.reason))
    with farm.database.read_as_system() as session:
        return present_placement(session, terminal_id)
