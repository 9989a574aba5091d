"""All SQL of backtests."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from control_plane.backtests.model import Backtest, BacktestReport
from control_plane.backtests.state import OPEN, BacktestState
from control_plane.identity.owner import Owner


def owned(session: Session, owner: Owner, backtest_id: str) -> Backtest | None:
    query = select(Backtest).where(
        Backtest.tenant_id == owner.tenant_id, Backtest.user_id == owner.user_id, Backtest.id == backtest_id
    )
    return session.scalars(query).one_or_none()


def listed(session: Session, owner: Owner, account_id: str | None, before_id: str | None, limit: int) -> list[Backtest]:
    """Newest first."""
    query = select(Backtest).where(Backtest.tenant_id == owner.tenant_id, Backtest.user_id == owner.user_id)
    if account_id is not None:
        query = query.where(Backtest.account_id == account_id)
    if before_id is not None:
        query = query.where(Backtest.id < before_id)
    return list(session.scalars(query.order_by(Backtest.id.desc()).limit(limit)))


def count_open(session: Session, owner: Owner) -> int:
    query = select(func.count()).where(
        Backtest.tenant_id == owner.tenant_id, Backtest.user_id == owner.user_id, Backtest.state.in_(OPEN)
    )
    return session.scalar(query) or 0


def report(session: Session, owner: Owner, backtest_id: str) -> BacktestReport | None:
    query = select(BacktestReport).where(
        BacktestReport.tenant_id == owner.tenant_id, BacktestReport.backtest_id == backtest_id
    )
    return session.scalars(query).one_or_none()


def held(session: Session, backtest_id: str) -> Backtest | None:
    """Of any tenant, held until the transaction ends where the database can."""
    query = select(Backtest).where(Backtest.id == backtest_id).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def left_behind(session: Session, now: datetime, queued_before: datetime) -> list[Backtest]:
    """Of all tenants: whose process is gone, or whose job was lost."""
    query = select(Backtest).where(
        or_(
            (Backtest.state == BacktestState.RUNNING) & (Backtest.alive_until < now),
            (Backtest.state == BacktestState.QUEUED) & (Backtest.alive_until < queued_before),
        )
    )
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def delete_whole(session: Session, backtest: Backtest) -> None:
    session.execute(
        delete(BacktestReport).where(
            BacktestReport.tenant_id == backtest.tenant_id, BacktestReport.backtest_id == backtest.id
        )
    )
    session.delete(backtest)
