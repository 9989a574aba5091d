"""`mt5farm pools ...` and `mt5farm placements ...`: where terminals go, and why. Works on the database."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from control_plane.fleet.commands import NodeArgument, by_this_person, farm_of, node_id_of, nodes, show_node
from control_plane.opening import Data
from control_plane.placement.decision import PoolStrategy
from control_plane.placement.presentation import present_placement, present_pools, present_tenants, present_waiting
from control_plane.placement.schemas import ExplanationOut, SetDemand, SetNode, SetPool, SetTenant
from control_plane.terminals import repository as terminals_repository

pools = typer.Typer(help="Sets of nodes that are placed alike.", no_args_is_help=True)
placements = typer.Typer(help="Why terminals are where they are, or why they wait.", no_args_is_help=True)
Reason = Annotated[str, typer.Option("--reason", help="Kept in the audit trail.")]
LabelOptions = Annotated[list[str] | None, typer.Option("--label", help="name=value; again for more.")]
_MIB = 1 << 20
_MOST_SHOWN = 200


@nodes.command("set")
def set_node(
    data: Data,
    node: NodeArgument,
    reason: Reason,
    pool: Annotated[str | None, typer.Option(help="The pool it is in.")] = None,
    region: Annotated[str | None, typer.Option(help="Where it stands; empty for nowhere in particular.")] = None,
    label: LabelOptions = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Take all labels away.")] = False,
    dedicated_to: Annotated[str | None, typer.Option(help="Id of the only tenant; empty for everybody.")] = None,
    outgoing_address: Annotated[str | None, typer.Option(help="From which its terminals reach their brokers.")] = None,
) -> None:
    """Say what a node is for placement; what is left out stays. What runs there stays."""
    by = by_this_person(reason)
    labels = parse_labels(label) if label or no_labels else None
    wish = SetNode(
        reason=by.reason,
        pool=pool,
        region=region,
        labels=labels,
        dedicated_tenant_id=dedicated_to,
        outgoing_address=outgoing_address,
    )
    with farm_of(data, write=True) as (farm, session):
        farm.placement.set_node(session, node_id_of(session, node), wish, by)
    show_node(data, node)


def parse_labels(given: list[str] | None) -> dict[str, str]:
    """Raises BadParameter for what is not name=value."""
    pairs = [each.partition("=") for each in given or ()]
    if not all(name and value for name, _, value in pairs):
        raise typer.BadParameter("write name=value", param_hint="--label")
    return {name: value for name, _, value in pairs}


@pools.command("list")
def list_pools(data: Data) -> None:
    """All pools, and what holds for tenants."""
    with farm_of(data) as (_, session):
        found, tenants = present_pools(session), present_tenants(session)
    table = Table("pool", "strategy", "labels", "memory of a terminal", "nodes")
    for pool in found:
        memory = "as usual" if pool.terminal_memory is None else f"{pool.terminal_memory // _MIB} MiB"
        table.add_row(pool.name, pool.strategy, _labels(pool.labels), memory, str(pool.nodes))
    rules = Table("tenant", "id", "pool", "only its own nodes", "own nodes")
    for tenant in tenants:
        only = "yes" if tenant.only_dedicated else "no"
        rules.add_row(tenant.name, tenant.tenant_id, tenant.pool, only, str(tenant.dedicated_nodes))
    console = Console()
    console.print(table)
    console.print(rules)


@pools.command("set")
def set_pool(
    data: Data,
    name: Annotated[str, typer.Argument(help="Name of the pool; a new one is made.")],
    reason: Reason,
    strategy: Annotated[PoolStrategy, typer.Option(help="Emptiest node first, or fullest.")] = PoolStrategy.SPREAD,
    label: LabelOptions = None,
    terminal_mib: Annotated[int | None, typer.Option(help="What a terminal is expected to take.")] = None,
) -> None:
    """Make a pool, or change how its nodes are filled."""
    by = by_this_person(reason)
    memory = None if terminal_mib is None else terminal_mib * _MIB
    wish = SetPool(reason=by.reason, strategy=strategy, labels=parse_labels(label), terminal_memory=memory)
    with farm_of(data, write=True) as (farm, session):
        farm.placement.set_pool(session, name, wish, by)
    list_pools(data)


@pools.command("remove")
def remove_pool(data: Data, name: Annotated[str, typer.Argument(help="Name of the pool.")], reason: Reason) -> None:
    """Remove a pool that no node is in and nobody asks for."""
    with farm_of(data, write=True) as (farm, session):
        farm.placement.remove_pool(session, name, by_this_person(reason))
    list_pools(data)


@pools.command("tenant")
def set_tenant(
    data: Data,
    tenant: Annotated[str, typer.Argument(help="Id of the tenant; `list` has them.")],
    reason: Reason,
    pool: Annotated[str, typer.Option(help="For all its terminals that do not ask for another one.")] = "",
    only_dedicated: Annotated[bool, typer.Option(help="Only on nodes that are kept for it.")] = False,
) -> None:
    """Say where the terminals of a tenant go."""
    by = by_this_person(reason)
    wish = SetTenant(reason=by.reason, pool=pool, only_dedicated=only_dedicated)
    with farm_of(data, write=True) as (farm, session):
        farm.placement.set_tenant(session, tenant, wish, by)
    list_pools(data)


@placements.command("waiting")
def list_waiting(data: Data) -> None:
    """Terminals that should run and have no place."""
    with farm_of(data) as (_, session):
        rows = terminals_repository.waiting_after(session, None, _MOST_SHOWN)
        shown = [present_waiting(each) for each in rows]
    table = Table("terminal", "login", "since", "why")
    for each in shown:
        since = each.since.isoformat(sep=" ", timespec="seconds")
        table.add_row(each.terminal_id, f"{each.login}\n{each.server}", since, each.note)
    Console().print(table)


@placements.command("show")
def show_placement(data: Data, terminal: Annotated[str, typer.Argument(help="Id of the terminal.")]) -> None:
    """What was decided for a terminal, and what every node would say now."""
    with farm_of(data) as (_, session):
        shown = present_placement(session, terminal)
    console = Console()
    wanted = [f"pool {shown.demand.pool}", f"region {shown.demand.region or 'any'}", _labels(shown.demand.labels)]
    console.print(f"{shown.terminal_id}, {shown.login} at {shown.server}, asks for {', '.join(wanted)}")
    console.print(shown.note or "It should not run, or has not been looked at yet.")
    if shown.then is not None:
        console.print(_verdicts("when it was placed", shown.then))
    if shown.now is not None:
        console.print(_verdicts("now", shown.now))


@placements.command("demand")
def set_demand(
    data: Data,
    terminal: Annotated[str, typer.Argument(help="Id of the terminal.")],
    reason: Reason,
    pool: Annotated[str, typer.Option(help="Its tenant's unless said.")] = "",
    region: Annotated[str, typer.Option(help="Any unless said.")] = "",
    label: LabelOptions = None,
) -> None:
    """Say what a terminal asks of its next node. It is not moved for it: see `mt5farm nodes move`."""
    by = by_this_person(reason)
    wish = SetDemand(reason=by.reason, pool=pool, region=region, labels=parse_labels(label))
    with farm_of(data, write=True) as (farm, session):
        farm.placement.set_demand(session, terminal, wish, by)
    show_placement(data, terminal)


def _verdicts(when: str, explained: ExplanationOut) -> Table:
    table = Table("node", "verdict", "free slots", title=f"{when}: {explained.sentence} {explained.warning}".strip())
    for each in explained.nodes:
        table.add_row(f"{each.name}\n{each.node_id}", each.verdict, str(each.free))
    return table


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items())) or "no labels"
