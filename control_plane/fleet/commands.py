"""`mt5farm nodes ...`: what operators do to the fleet, on the machine of the control plane, without signing in.

They work on the database, also while no control plane runs; nodes hear of it with their next sync.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from control_plane.assignments.relocation import LeasePolicy
from control_plane.container import Farm
from control_plane.fleet import repository
from control_plane.fleet.operations import By, Operations, require_node
from control_plane.fleet.presentation import present_breaker, present_node, present_node_detail
from control_plane.fleet.schemas import DrainOut, NodeDetailOut, NodeOut
from control_plane.fleet.state import BreakerState, NodeState
from control_plane.opening import Data, open_farm
from control_plane.placement.repository import NOTHING, loads
from control_plane.terminals.state import RequestKind

nodes = typer.Typer(help="The machines that host terminals.", no_args_is_help=True)
NodeArgument = Annotated[str, typer.Argument(help="Name or id of the node.")]
Reason = Annotated[str, typer.Option("--reason", help="Kept in the audit trail.")]


@nodes.command("list")
def list_nodes(data: Data) -> None:
    """All nodes: what is seen of them, what is wished of them, and how full they are."""
    with farm_of(data) as (farm, session):
        held, now = loads(session), farm.clock.now()
        shown = [present_node(session, node, held.get(node.id, NOTHING), now) for node in repository.nodes(session)]
        breaker = present_breaker(session, farm.mass_loss)
    table = _table("node", "seen", "wish", "identity", "slots", "last heard", "watchdog", "short of", "drain")
    for node in shown:
        table.add_row(
            f"{node.name}\n{node.id}",
            node.state + (", awaited" if node.awaited else ""),
            node.availability,
            node.identity_state,
            f"{node.used}/{node.slots}" + (f" +{node.strays} strays" if node.strays else ""),
            _ago(node.last_seen_at, now),
            "up" if node.watchdog_up else "none",
            ", ".join(node.pressure) or "-",
            _drain(node.drain, now),
        )
    console = Console()
    console.print(table)
    if breaker.state is BreakerState.OPEN:
        console.print(
            f"Relocation is FROZEN: {breaker.silent} of {breaker.nodes} nodes are silent. An owner or ops may lift it "
            "with `mt5farm nodes lift-breaker` once the nodes are known to be gone."
        )


@nodes.command("show")
def show_node(data: Data, node: NodeArgument) -> None:
    """One node, its terminals, why each of them is there, and what was done to the node lately."""
    with farm_of(data) as (farm, session):
        found = require_node(session, node_id_of(session, node), hold=False)
        now = farm.clock.now()
        shown = present_node_detail(session, found, farm.mass_loss, now)
    _print_node(shown, now)


@nodes.command("cordon")
def cordon_node(data: Data, node: NodeArgument, reason: Reason) -> None:
    """Place nothing new there."""
    _do(data, node, lambda operations, session, node_id: operations.cordon(session, node_id, by_this_person(reason)))


@nodes.command("uncordon")
def uncordon_node(data: Data, node: NodeArgument, reason: Reason) -> None:
    """Place terminals there again; ends a drain or a quarantine, too."""
    _do(data, node, lambda operations, session, node_id: operations.uncordon(session, node_id, by_this_person(reason)))


@nodes.command("drain")
def drain_node(
    data: Data,
    node: NodeArgument,
    reason: Reason,
    minutes: Annotated[int, typer.Option(help="Then terminals with open positions move as well.")] = 60,
) -> None:
    """Move everything away, flat terminals first. `show` tells how far it has come."""
    within = timedelta(minutes=minutes)
    _do(
        data,
        node,
        lambda operations, session, node_id: operations.drain(session, node_id, within, by_this_person(reason)),
    )


@nodes.command("cancel-drain")
def cancel_drain(data: Data, node: NodeArgument, reason: Reason) -> None:
    """Leave there what is still there. The node stays cordoned."""
    _do(
        data,
        node,
        lambda operations, session, node_id: operations.cancel_drain(session, node_id, by_this_person(reason)),
    )


@nodes.command("confirm-dead")
def confirm_node_dead(data: Data, node: NodeArgument, reason: Reason) -> None:
    """Vouch that nothing runs there any more. If one terminal still does, its account trades from two places."""
    _do(
        data,
        node,
        lambda operations, session, node_id: operations.confirm_dead(session, node_id, by_this_person(reason)),
    )


@nodes.command("unlock")
def unlock_node(data: Data, node: NodeArgument, reason: Reason) -> None:
    """Believe the identity again, since only one machine has it now."""
    _do(data, node, lambda operations, session, node_id: operations.unlock(session, node_id, by_this_person(reason)))


@nodes.command("revoke")
def revoke_node(data: Data, node: NodeArgument, reason: Reason) -> None:
    """Never believe the node's identity again."""
    _do(
        data,
        node,
        lambda operations, session, node_id: operations.revoke_identity(session, node_id, by_this_person(reason)),
    )


@nodes.command("move")
def move_terminal(
    data: Data,
    node: NodeArgument,
    terminal: Annotated[str, typer.Argument(help="Id of the terminal.")],
    reason: Reason,
    with_positions: Annotated[bool, typer.Option(help="Even though nobody looks after them meanwhile.")] = False,
) -> None:
    """Stop one terminal there and start it on another node."""
    _do(
        data,
        node,
        lambda operations, session, node_id: operations.move(
            session, node_id, terminal, by_this_person(reason), with_positions=with_positions
        ),
    )


@nodes.command("lease-policy")
def set_lease_policy(
    data: Data,
    node: NodeArgument,
    terminal: Annotated[str, typer.Argument(help="Id of the terminal.")],
    policy: Annotated[LeasePolicy, typer.Argument(help="What becomes of it when its node loses touch.")],
    reason: Reason,
) -> None:
    """Let a terminal run on when its node loses touch, or stop to start elsewhere."""
    _do(
        data,
        node,
        lambda operations, session, node_id: operations.set_lease_policy(
            session, node_id, terminal, policy, by_this_person(reason)
        ),
    )


@nodes.command("request")
def request_of_terminal(
    data: Data,
    node: NodeArgument,
    terminal: Annotated[str, typer.Argument(help="Id of the terminal.")],
    kind: Annotated[RequestKind, typer.Argument(help="What the node should do once.")],
    reason: Reason,
) -> None:
    """Have the node restart a terminal, or collect its logs (into the folder `files/bundles` of the control plane)."""
    _do(
        data,
        node,
        lambda operations, session, node_id: operations.request(
            session, node_id, terminal, kind, by_this_person(reason)
        ),
    )


@nodes.command("lift-breaker")
def lift_breaker(data: Data, reason: Reason) -> None:
    """The nodes that are silent now are really gone: their terminals may be moved once they are proven dead."""
    with farm_of(data, write=True) as (farm, session):
        farm.mass_loss.lift(session, this_person(), reason)
    Console().print("Relocation is no longer frozen.")


def this_person() -> str:
    """The actor for the audit trail: whoever is logged in to the control plane's machine."""
    return f"local:{getpass.getuser()}"


def by_this_person(reason: str) -> By:
    """Raises BadParameter when no reason is given."""
    if len(reason.strip()) < 3:
        raise typer.BadParameter("say why, in a few words", param_hint="--reason")
    return By(this_person(), reason.strip())


def _do(data: Path, node: str, deed: Callable[[Operations, Session, str], object]) -> None:
    with farm_of(data, write=True) as (farm, session):
        node_id = node_id_of(session, node)
        deed(farm.operations, session, node_id)
        session.flush()
        now = farm.clock.now()
        shown = present_node_detail(session, require_node(session, node_id), farm.mass_loss, now)
    _print_node(shown, now)


@contextmanager
def farm_of(data: Path, *, write: bool = False) -> Iterator[tuple[Farm, Session]]:
    """The farm of a data folder, with a transaction over all tenants."""
    farm = open_farm(data)
    try:
        with farm.database.write_as_system() if write else farm.database.read_as_system() as session:
            yield farm, session
    finally:
        farm.stop()


def node_id_of(session: Session, named: str) -> str:
    """A name is good enough while only one node has it."""
    found = [node.id for node in repository.nodes(session) if node.name == named]
    if len(found) > 1:
        raise typer.BadParameter(f"{len(found)} nodes are called {named}; give the id", param_hint="NODE")
    return found[0] if found else named


def _print_node(node: NodeDetailOut, now: datetime) -> None:
    console = Console()
    console.print(_summary(node, now))
    if node.terminals:
        table = _table("terminal", "login", "epoch", "assignment", "phase", "flat", "when cut off", "drain", "why")
        for each in node.terminals:
            told = each.node_follows == each.lease_policy
            table.add_row(
                each.terminal_id,
                f"{each.login}\n{each.server}",
                str(each.epoch),
                each.assignment,
                each.phase + (f"\n{each.reason}" if each.reason else ""),
                {None: "?", True: "yes", False: "no"}[each.flat],
                each.lease_policy if told else f"{each.lease_policy}\n(node not told yet)",
                each.drain_step or "-",
                each.stays_because or each.why_here,
            )
        console.print(table)
    if node.deeds:
        table = _table("when", "who", "what", "why")
        for deed in node.deeds:
            table.add_row(_ago(deed.at, now), deed.actor, deed.action, deed.reason)
        console.print(table)


def _summary(node: NodeDetailOut, now: datetime) -> Table:
    table = Table(show_header=False, box=None)
    rows = {
        "node": f"{node.name} ({node.id}), {node.platform}",
        "seen": node.state + (f" since {_ago(node.silent_since, now)}" if node.silent_since else ""),
        "last heard": _ago(node.last_seen_at, now),
        "wish": f"{node.availability}  {node.availability_note}",
        "identity": f"{node.identity_state}  {node.identity_note}",
        "slots": f"{node.used} of {node.slots} used, {node.strays} strays",
        "memory": f"{_gib(node.memory_reserved)} reserved, {_gib(node.memory_free)} may still be",
        "placement": _place(node),
        "watchdog": "up" if node.watchdog_up else "not reported",
        "fenced by": _fence(node, now),
        "drain": _drain(node.drain, now),
        "problems": "; ".join([*node.problems, *(f"short of {each}" for each in node.pressure)]) or "none",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _place(node: NodeOut) -> str:
    parts = [f"pool {node.pool}", f"region {node.region or 'none'}"]
    parts += [f"{name}={value}" for name, value in sorted(node.labels.items())]
    parts += [f"kept for {node.dedicated_tenant_id}"] if node.dedicated_tenant_id else []
    return ", ".join([*parts, f"goes out from {node.outgoing_address or node.seen_from or 'an unknown address'}"])


def _gib(size: int | None) -> str:
    return "?" if size is None else f"{size / (1 << 30):.1f} GiB"


def _fence(node: NodeOut, now: datetime) -> str:
    if node.state == NodeState.ONLINE or node.fence_due_at is None:
        return "-"
    return (
        f"since {_ago(node.fence_due_at, now)}" if node.fence_due_at <= now else f"in {_span(node.fence_due_at - now)}"
    )


def _drain(drain: DrainOut | None, now: datetime) -> str:
    if drain is None:
        return "-"
    if drain.left == 0:
        return f"done, {drain.total} moved"
    steps = ", ".join(f"{count} {step.replace('_', ' ')}" for step, count in drain.steps.items())
    due = f"deadline in {_span(drain.deadline - now)}" if drain.deadline > now else "deadline passed"
    return f"{drain.total - drain.left} of {drain.total} gone ({steps}), {due}"


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _ago(moment: datetime, now: datetime) -> str:
    return f"{_span(now - moment)} ago"


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
