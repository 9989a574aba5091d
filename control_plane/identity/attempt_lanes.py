"""All SQL of the lanes in which attempts are counted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control_plane.identity.model import AttemptLane


def held(session: Session, lane_hash: str, now: datetime) -> AttemptLane:
    """The row of a lane, made when it is new. Held until the transaction ends: attempts are counted one by one."""
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert(AttemptLane) if dialect == "postgresql" else sqlite.insert(AttemptLane)
    session.execute(insert.values(lane_hash=lane_hash, failures=0, last_at=now).on_conflict_do_nothing())
    query = select(AttemptLane).where(AttemptLane.lane_hash == lane_hash)
    return session.scalars(query.with_for_update().execution_options(populate_existing=True)).one()


def clear(session: Session, lane_hash: str) -> None:
    session.execute(delete(AttemptLane).where(AttemptLane.lane_hash == lane_hash))


def take_back_one(session: Session, lane_hash: str) -> None:
    session.execute(
        update(AttemptLane)
        .where(AttemptLane.lane_hash == lane_hash, AttemptLane.failures > 0)
        .values(failures=AttemptLane.failures - 1)
    )


def delete_older(session: Session, before: datetime) -> None:
    session.execute(delete(AttemptLane).where(AttemptLane.last_at < before))
