"""Accounts as they are shown, as columns: live updates read thousands a second, and objects would cost far more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, select
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account, AccountSnapshotRow
from control_plane.assignments.model import Assignment
from control_plane.db.tenancy import lasting
from control_plane.fleet.model import Node
from control_plane.terminals.model import Terminal, TerminalObservation
from control_plane.terminals.shown import NodeShown, ObservationShown, PlaceShown, TerminalShown


@dataclass(frozen=True, slots=True)
class AccountShown:
    id: str
    user_id: str
    label: str
    login: int
    server: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SnapshotShown:
    currency: str
    balance: Decimal
    equity: Decimal
    profit: Decimal
    margin: Decimal
    margin_free: Decimal
    positions: int
    broker_time: int
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class ColumnsView:
    """The same as `AccountView`."""

    account: AccountShown
    terminal: TerminalShown
    observation: ObservationShown | None
    assignment: PlaceShown | None
    node: NodeShown | None
    snapshot: SnapshotShown | None


def shown(session: Session, tenant_id: str, account_ids: Collection[str]) -> dict[str, ColumnsView]:
    """Those of these accounts that the tenant has and nobody has removed, by id."""
    if not account_ids:
        return {}
    rows = session.execute(_SHOWN, {"tenant_id": tenant_id, "account_ids": list(account_ids)})
    return {row[0]: _view(row) for row in rows}


def _wide() -> Select[*tuple[Any, ...]]:
    account, terminal, seen, place = Account, Terminal, TerminalObservation, Assignment
    figures = AccountSnapshotRow
    wanted: BindParameter[str] = bindparam("account_ids", expanding=True)
    return (
        select(
            *(account.id, account.user_id, account.label, account.login, account.server, account.created_at),
            *(terminal.id, terminal.intent, terminal.hold, terminal.last_epoch, terminal.placement_note),
            *(terminal.changed_at, terminal.lease_policy),
            *(seen.epoch, seen.phase, seen.reason, seen.detail, seen.since, seen.last_answer_at, seen.screen),
            *(place.epoch, place.state, place.lease_policy, place.runtime, place.explanation),
            *(Node.name, Node.state),
            *(figures.currency, figures.balance, figures.equity, figures.profit, figures.margin, figures.margin_free),
            *(figures.positions, figures.broker_time, figures.taken_at),
        )
        .join_from(account, terminal, terminal.account_id == account.id)
        .outerjoin(seen, seen.terminal_id == terminal.id)
        .outerjoin(place, (place.terminal_id == terminal.id) & place.released_at.is_(None))
        .outerjoin(Node, Node.id == place.node_id)
        .outerjoin(figures, (figures.account_id == account.id) & figures.account_id.in_(wanted))
        .where(
            account.id.in_(wanted),
            # Said of these tables as well, so that they are read by their keys whatever their statistics make believe.
            terminal.account_id.in_(wanted),
            account.tenant_id == bindparam("tenant_id"),
            account.deleted_at.is_(None),
        )
    )


_SHOWN = lasting(_wide())


def _view(row: Any) -> ColumnsView:
    """Of the columns of `_wide`, in their order; those of a row that there is not are None."""
    return ColumnsView(
        AccountShown(*row[0:6]),
        TerminalShown(*row[6:13]),
        None if row[13] is None else ObservationShown(*row[13:20]),
        None if row[20] is None else PlaceShown(*row[20:25]),
        None if row[25] is None else NodeShown(*row[25:27]),
        None if row[27] is None else SnapshotShown(*row[27:36]),
    )
