"""What is known of all that nodes hold, in one query of columns: it is read with every report, and seldom changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ScalarSelect, Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from control_plane.accounts.model import Account, AccountSnapshotRow
from control_plane.accounts.repository import AccountColumns, Figures
from control_plane.assignments.model import Assignment
from control_plane.terminals.model import Terminal, TerminalObservation
from control_plane.terminals.repository import Known, TerminalColumns
from control_plane.trading.model import EquitySample
from control_plane.trading.repository import EquityPoint
from control_plane.vault.model import SealedCredentials
from control_plane.vault.state import Verdict


@dataclass(frozen=True, slots=True)
class Held:
    """A living assignment, with what was reported of its terminal last."""

    epoch: int
    state: str
    unproven: bool
    lease_policy: str
    """Of the assignment."""
    terminal: TerminalColumns
    account: AccountColumns
    known: Known | None
    figures: Figures | None
    last_point: EquityPoint | None
    """The end of the equity curve."""
    verdict: tuple[int, Verdict] | None
    """The version of the password, and what the broker made of it."""


def held(session: Session, node_ids: Collection[str]) -> dict[str, list[Held]]:
    """By node id, of all tenants, in the order of the terminals."""
    found: dict[str, list[Held]] = defaultdict(list)
    with session.no_autoflush:  # the nodes are written once, at the end
        for row in session.execute(_HELD.where(Assignment.node_id.in_(node_ids))):
            found[row[0]].append(_held(row))
    return found


def _newest(column: InstrumentedAttribute[Any]) -> ScalarSelect[Any]:
    """Of the newest point of the account's equity curve.

    One step down the index for each account, however long its curve is; joined, the whole table might be read.
    """
    points = select(column).where(EquitySample.account_id == Account.id).correlate(Account)
    return points.order_by(EquitySample.at.desc()).limit(1).scalar_subquery()


def _wide() -> Select[*tuple[Any, ...]]:
    assignment, terminal, account = Assignment, Terminal, Account
    seen, figures, point, sealed = TerminalObservation, AccountSnapshotRow, EquitySample, SealedCredentials
    return (
        select(
            assignment.node_id,
            *(assignment.epoch, assignment.state, assignment.unproven, assignment.lease_policy),
            *(terminal.id, terminal.tenant_id, terminal.intent, terminal.hold, terminal.last_epoch),
            terminal.lease_policy,
            *(account.id, account.tenant_id, account.user_id, account.login, account.server),
            *(seen.epoch, seen.phase, seen.reason, seen.detail, seen.screen, seen.service, seen.reported_at),
            *(figures.taken_at, figures.balance, figures.equity, figures.profit, figures.positions),
            *(_newest(each) for each in (point.at, point.balance, point.equity)),
            *(sealed.version, sealed.verdict),
        )
        .join_from(assignment, terminal, terminal.id == assignment.terminal_id)
        .join(account, account.id == terminal.account_id)
        .outerjoin(seen, seen.terminal_id == terminal.id)
        .outerjoin(figures, figures.account_id == account.id)
        .outerjoin(sealed, sealed.account_id == account.id)
        .where(assignment.released_at.is_(None))
        .order_by(assignment.terminal_id)
    )


_HELD = _wide()


def _held(row: Any) -> Held:
    """Of the columns of `_wide`, in their order; those of a row that there is not are None."""
    return Held(
        row[1],
        row[2],
        row[3],
        row[4],
        TerminalColumns(*row[5:11]),
        AccountColumns(*row[11:16]),
        None if row[16] is None else Known(*row[16:23]),
        None if row[23] is None else Figures(*row[23:28]),
        None if row[28] is None else EquityPoint(*row[28:31]),
        None if row[31] is None else (row[31], Verdict(row[32])),
    )
