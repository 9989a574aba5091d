"""Bodies of pools, of what nodes are, and of why terminals are where they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, IPvAnyAddress, StringConstraints

from control_plane.assignments.state import AssignmentState
from control_plane.fleet.schemas import Because
from control_plane.placement.decision import PoolStrategy, Refusal

_WORD = r"[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?"
Word = Annotated[str, StringConstraints(pattern=rf"^{_WORD}$")]
"""Small letters, digits, and . _ - between them; at most 40 characters."""
WordOrNone = Annotated[str, StringConstraints(pattern=rf"^({_WORD})?$")]
Labels = Annotated[dict[Word, Word], Field(max_length=16)]
_MIB = 1 << 20


class SetNode(Because):
    """What a node is for placement. What is left out stays as it is."""

    pool: Word | None = None
    region: WordOrNone | None = None
    labels: Labels | None = None
    """All of them."""
    dedicated_tenant_id: str | None = Field(default=None, max_length=40)
    """The only tenant whose terminals may be there; empty: everybody's."""
    outgoing_address: IPvAnyAddress | Annotated[str, StringConstraints(max_length=0)] | None = None
    """From which its terminals reach their brokers; empty: the one that its agent calls from."""


class SetPool(Because):
    strategy: PoolStrategy = PoolStrategy.SPREAD
    labels: Labels = Field(default_factory=dict)
    """Every terminal of the pool demands them of its node."""
    terminal_memory: Annotated[int, Field(ge=16 * _MIB, le=1 << 40)] | None = None
    """Bytes that a terminal is expected to take; null: as usual for its runtime."""


class SetTenant(Because):
    pool: WordOrNone = ""
    """For all terminals of the tenant that do not ask for another one; empty: `default`."""
    only_dedicated: bool = False
    """Only on nodes that are kept for the tenant."""


class SetDemand(Because):
    """What a terminal asks of its next node; it is not moved for it."""

    pool: WordOrNone = ""
    """Empty: the tenant's."""
    region: WordOrNone = ""
    """Empty: any."""
    labels: Labels = Field(default_factory=dict)


class PoolOut(BaseModel):
    name: str
    strategy: PoolStrategy
    labels: dict[str, str]
    terminal_memory: int | None
    """Bytes."""
    nodes: int


class TenantPlacementOut(BaseModel):
    tenant_id: str
    name: str
    pool: str
    only_dedicated: bool
    dedicated_nodes: int


class NodeVerdictOut(BaseModel):
    node_id: str
    name: str
    verdict: str
    """`chosen`, `fits`, or the reason why not, one of those that `refused` counts."""
    free: int
    """Free slots."""


class ExplanationOut(BaseModel):
    sentence: str
    warning: str
    pool: str
    strategy: PoolStrategy
    fitting: int
    """How many nodes could take it."""
    refused: dict[Refusal, int]
    """How many could not, by reason."""
    nodes: list[NodeVerdictOut]
    """Of a decision that was kept: the best and the nearest; of one that is made now: all."""


class DemandOut(BaseModel):
    pool: str
    region: str
    labels: dict[str, str]
    only_dedicated: bool
    memory: int
    """Bytes that would be reserved at least."""


class PlacementOut(BaseModel):
    """Why a terminal is where it is, or why it waits."""

    terminal_id: str
    account_id: str
    tenant_id: str
    login: int
    server: str
    waiting_since: datetime | None
    """None when it has a place, or should not run."""
    note: str
    """What its owner reads."""
    demand: DemandOut
    """As it would be judged now."""
    node_id: str | None
    assignment: AssignmentState | None
    reserved_at: datetime | None
    memory: int | None
    """Bytes that are reserved."""
    then: ExplanationOut | None
    """Of the decision that gave it its place; null without a place, and for places older than explanations."""
    now: ExplanationOut | None
    """Of all nodes, were it to be placed now."""


class WaitingOut(BaseModel):
    terminal_id: str
    account_id: str
    tenant_id: str
    login: int
    server: str
    since: datetime
    note: str
