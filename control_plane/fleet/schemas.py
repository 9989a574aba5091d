"""Bodies of what operators see of the fleet, and of what they do to it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from control_plane.assignments.relocation import LeasePolicy, Unproven
from control_plane.assignments.state import AssignmentState
from control_plane.fleet.drain import Step
from control_plane.fleet.state import Availability, BreakerState, IdentityState, NodeState
from control_plane.identity.state import Role
from control_plane.terminals.schemas import ScreenOut
from control_plane.terminals.state import Hold, Intent, RequestKind
from node_agent.protocol.messages import Phase, Reason

Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=250)]
"""Kept in the audit trail."""


class Because(BaseModel):
    """What an operator's deed is done for."""

    reason: Why


class DrainNode(Because):
    within_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = 3600
    """After this time, terminals with open positions move as well."""


class MoveTerminal(Because):
    with_positions: bool = False
    """Move it even though nobody looks after its open positions meanwhile."""
    to_node_id: Annotated[str, Field(max_length=40)] | None = None
    """The node that it shall go to; placement finds one without. Should it be full by then, another is taken."""


class RequestOfTerminal(Because):
    kind: RequestKind


class SetTerminalLeasePolicy(Because):
    policy: LeasePolicy


class DrainOut(BaseModel):
    """How far a drain has come. It is over when nothing is left."""

    started_at: datetime
    deadline: datetime
    total: int
    """Terminals at the start."""
    left: int
    steps: dict[Step, int]
    """Of those left: what they wait for."""


class NodeOut(BaseModel):
    id: str
    name: str
    state: NodeState
    """Observed: how long it has been silent."""
    availability: Availability
    """Wished for by operators."""
    availability_note: str
    identity_state: IdentityState
    identity_note: str
    slots: int
    used: int
    strays: int
    """Terminals that still run there without a reservation, and are being stopped."""
    awaited: bool
    """Since a restore it has not told all that it runs; until all nodes have, nothing is started that did not run."""
    runtimes: list[str]
    platform: str
    agent_version: str
    gateway_up: bool
    watchdog_up: bool
    pressure: list[str]
    problems: list[str]
    memory_total: int | None
    """Bytes."""
    memory_available: int | None
    memory_reserved: int
    """Bytes that its terminals are expected to take."""
    memory_free: int | None
    """Bytes that may still be reserved."""
    disk_free: int | None
    """Bytes."""
    clock_offset_ms: int | None
    enrolled_at: datetime
    last_seen_at: datetime
    silent_since: datetime | None
    lease_granted_at: datetime | None
    fence_due_at: datetime | None
    """By when terminals that fence themselves are dead there, should it never hear of us again."""
    declared_dead_at: datetime | None
    pool: str
    region: str
    labels: dict[str, str]
    dedicated_tenant_id: str | None
    """The only tenant whose terminals may be there."""
    outgoing_address: str
    """From which its terminals reach their brokers, as operators know it; else it is taken to be `seen_from`."""
    seen_from: str
    """Where its last sync came from."""
    drain: DrainOut | None


class NodeTerminalOut(BaseModel):
    """A terminal on a node, without anything of its owner but the login."""

    terminal_id: str
    account_id: str
    login: int
    server: str
    epoch: int
    assignment: AssignmentState
    intent: Intent
    hold: Hold
    phase: Phase
    reason: Reason | None
    flat: bool | None
    screen: ScreenOut
    lease_policy: LeasePolicy
    """As wished."""
    node_follows: LeasePolicy
    """What the node is sure to do; later than a wish until the node has heard of it."""
    why_here: str
    warning: str
    """What is not as it should be with this node for this terminal; mostly empty."""
    memory_reserved: int
    """Bytes."""
    drain_step: Step | None
    stays_because: Unproven | None
    """On a silent node: what is missing before it may start elsewhere."""


class DeedOut(BaseModel):
    at: datetime
    actor: str
    action: str
    reason: str


class NodeDetailOut(NodeOut):
    terminals: list[NodeTerminalOut]
    deeds: list[DeedOut]
    """The newest first."""


class BreakerOut(BaseModel):
    state: BreakerState
    changed_at: datetime | None
    note: str
    silent: int
    nodes: int
    tolerated: int
    """More nodes than this falling silent within two minutes freeze relocation."""
    lifted_at: datetime | None
    lifted_by: str
    may_be_lifted_by: list[Role]


class ReleasedOut(BaseModel):
    terminals: int
    """How many places were given up."""
