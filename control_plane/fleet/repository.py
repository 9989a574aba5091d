"""All SQL of nodes. The fleet belongs to the operator, so that its queries span tenants."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from control_plane.assignments.model import Assignment
from control_plane.db.bulk import put_rows
from control_plane.fleet.model import EnrolmentToken, Node, RelocationBreaker, SeenRequest
from control_plane.fleet.state import Availability, IdentityState, NodeState


def node(session: Session, node_id: str) -> Node | None:
    return session.get(Node, node_id)


def lock_node(session: Session, node_id: str) -> Node | None:
    """The node as it is now, held until the transaction ends where the database can (SQLite holds everything)."""
    return hold_nodes(session, [node_id], wait=True).get(node_id)


def hold_nodes(session: Session, node_ids: Collection[str], *, wait: bool) -> dict[str, Node]:
    """The same of several, by id; those that do not exist are left out.

    Without `wait` those that others hold are left out, so that two who hold some never wait for each other.
    """
    query = select(Node).where(Node.id.in_(node_ids)).order_by(Node.id).with_for_update(skip_locked=not wait)
    return {each.id: each for each in session.scalars(query, execution_options={"populate_existing": True})}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node is known by, and the generation of what it should run."""

    id: str
    identity_key: str
    identity_state: str
    identity_expires_at: datetime
    generation: int


def identities(session: Session, node_ids: Collection[str]) -> dict[str, Identity]:
    """By node id."""
    query = select(Node.id, Node.identity_key, Node.identity_state, Node.identity_expires_at, Node.generation)
    return {row[0]: Identity(*row) for row in session.execute(query.where(Node.id.in_(node_ids)))}


def generations(session: Session, node_ids: Collection[str]) -> dict[str, int]:
    """By node id."""
    return dict(session.execute(select(Node.id, Node.generation).where(Node.id.in_(node_ids))).all())


def nodes(session: Session) -> list[Node]:
    return list(session.scalars(select(Node).order_by(Node.id)))


@dataclass(frozen=True, slots=True)
class Silence:
    """What is judged of every node again and again, and so is read without all that it reports."""

    id: str
    state: NodeState
    last_seen_at: datetime
    silent_since: datetime | None
    counts: bool
    """Whether its loss would be one: it is trusted, and nobody has said that it is gone for good."""


def silences(session: Session) -> list[Silence]:
    """Of all nodes, in the order they were enrolled."""
    counts = (Node.identity_state == IdentityState.TRUSTED) & Node.declared_dead_at.is_(None)
    query = select(Node.id, Node.state, Node.last_seen_at, Node.silent_since, counts).order_by(Node.id)
    return [
        Silence(node_id, NodeState(state), seen_at, since, bool(counted))
        for node_id, state, seen_at, since, counted in session.execute(query)
    ]


def nodes_after(
    session: Session, state: NodeState | None, availability: Availability | None, after_id: str | None, limit: int
) -> list[Node]:
    """In the order they were enrolled; those of one state and availability, or all."""
    query = select(Node).order_by(Node.id).limit(limit)
    if state is not None:
        query = query.where(Node.state == state)
    if availability is not None:
        query = query.where(Node.availability == availability)
    return list(session.scalars(query if after_id is None else query.where(Node.id > after_id)))


def lost_nodes(session: Session) -> list[Node]:
    """Lost nodes that still hold something."""
    holding = select(Assignment.node_id).where(Assignment.released_at.is_(None))
    query = select(Node).where(Node.state == NodeState.LOST, Node.id.in_(holding)).order_by(Node.id)
    return list(session.scalars(query))


def with_availability(session: Session, availability: Availability) -> list[Node]:
    return list(session.scalars(select(Node).where(Node.availability == availability).order_by(Node.id)))


def breaker(session: Session, name: str) -> RelocationBreaker | None:
    return session.get(RelocationBreaker, name)


def last_heard_at(session: Session) -> datetime | None:
    """When any node was heard of last."""
    return session.scalar(select(func.max(Node.last_seen_at)))


def with_identity_at(session: Session, moment: datetime) -> list[Node]:
    """Nodes whose identity was not over at that moment, held until the transaction ends where the database can."""
    return list(session.scalars(select(Node).where(Node.identity_expires_at > moment).with_for_update()))


def used_slots(session: Session) -> dict[str, int]:
    """Assignments that hold a slot, by node id."""
    query = (
        select(Assignment.node_id, func.count()).where(Assignment.released_at.is_(None)).group_by(Assignment.node_id)
    )
    return dict(session.execute(query).all())


def raise_generations(session: Session, node_ids: Sequence[str]) -> None:
    session.execute(update(Node).where(Node.id.in_(node_ids)).values(generation=Node.generation + 1))


def raise_all_generations(session: Session) -> None:
    session.execute(update(Node).values(generation=Node.generation + 1))


def redeem_token(session: Session, token_hash: str, now: datetime) -> EnrolmentToken | None:
    """Mark an unused token as used, at most once even when two nodes come at the same time."""
    claimed = session.execute(
        update(EnrolmentToken)
        .where(
            EnrolmentToken.token_hash == token_hash,
            EnrolmentToken.used_at.is_(None),
            EnrolmentToken.expires_at > now,
        )
        .values(used_at=now)
        .returning(EnrolmentToken.id)
    ).scalar_one_or_none()
    return None if claimed is None else session.get(EnrolmentToken, claimed, populate_existing=True)


def token_exists(session: Session, token_hash: str) -> EnrolmentToken | None:
    return session.scalars(select(EnrolmentToken).where(EnrolmentToken.token_hash == token_hash)).one_or_none()


def take_requests(session: Session, token_ids: Collection[str], expires_at: datetime) -> set[str]:
    """Remember the ids of signed requests. Those that were not known already; of two at once, one is let in."""
    rows = [{"token_id": each, "expires_at": expires_at} for each in token_ids]
    return set(put_rows(session, SeenRequest, rows, keep=True))


def forget_requests(session: Session, token_ids: Collection[str]) -> None:
    """They were not taken after all."""
    session.execute(delete(SeenRequest).where(SeenRequest.token_id.in_(token_ids)))


def delete_expired_requests(session: Session, now: datetime) -> None:
    session.execute(delete(SeenRequest).where(SeenRequest.expires_at <= now))
