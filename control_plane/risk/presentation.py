"""Guards and kill switches as people see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.model import Account
from control_plane.db.tenancy import as_system
from control_plane.db.types import money
from control_plane.risk import repository
from control_plane.risk.limits import NO_LIMITS
from control_plane.risk.model import KillSwitch
from control_plane.risk.repository import TargetView
from control_plane.risk.schemas import (
    GuardOut,
    GuardState,
    KillInForceOut,
    KillReportOut,
    KillSwitchOut,
    KillTargetOut,
    TripOut,
    UsedOut,
)
from control_plane.risk.service import as_switch, limits_in_force, read_limits
from control_plane.risk.state import REPORT_FRESH, KillMode, KillScope, Subject, TargetState, concerns
from node_agent.protocol.messages import GuardLoss, ObservedGuard

_WORDS: Mapping[GuardState, str] = {
    GuardState.OFF: "No limit is set for this account.",
    GuardState.PENDING: "The limits are set. The terminal's node has not confirmed yet that it enforces them.",
    GuardState.WATCHING: "The limits are enforced beside the terminal, whoever trades. Positions can always be closed.",
    GuardState.TRIPPED: "A loss limit was hit, so nothing is opened any more. Positions can be closed. It stays so "
    "until you re-arm the account, also tomorrow.",
    GuardState.KILLED: "The kill switch is on: nothing is opened any more. Positions can be closed.",
    GuardState.LOST: "The guard cannot read what it must remember, so nothing is opened. Re-arm the account to start "
    "counting anew.",
}


def present_guard(session: Session, account: Account, now: datetime) -> GuardOut:
    own = read_limits(repository.limits_of(session, [account.id]).get(account.id))
    defaults = read_limits(repository.defaults_of(session, [account.tenant_id]).get(account.tenant_id))
    subject = Subject(account.id, account.user_id, account.tenant_id)
    with as_system(session):  # a switch of the fleet is the operator's
        kills = [row for row in repository.switches_in_force(session) if concerns(as_switch(row), subject)]
    row = repository.observations(session, [account.id]).get(account.id)
    snapshot = accounts_repository.snapshot(session, account.tenant_id, account.id)
    in_force = limits_in_force(session, account)
    seen = None if row is None else ObservedGuard.model_validate(row.body)
    fresh = row is not None and now - row.reported_at <= REPORT_FRESH
    state = _state(seen if fresh else None, seen, killed=bool(kills), limited=in_force != NO_LIMITS)
    shown = seen if state is not GuardState.OFF else None
    return GuardOut(
        account_id=account.id,
        currency=snapshot.currency if snapshot else None,
        state=state,
        words=_WORDS[state],
        own=own,
        defaults=defaults,
        in_force=in_force,
        used=[_used(each) for each in shown.losses] if shown else [],
        trips=[
            TripOut(switch=each.switch, at=_moment(each.at), lost=_money(each.figure), limit=_money(each.limit))
            for each in (shown.trips if shown else ())
        ],
        kills=[
            KillInForceOut(
                id=each.id,
                scope=KillScope(each.scope),
                mode=KillMode(each.mode),
                reason=each.reason,
                thrown_at=each.thrown_at,
            )
            for each in kills
        ],
        positions=seen.positions if seen and fresh else None,
        orders=seen.orders if seen and fresh else None,
        closing_problem=seen.closing_problem if seen and fresh else "",
        day_since=_moment(shown.day_since) if shown and shown.day is not None else None,
        seen_at=_moment(shown.at) if shown and shown.at else None,
    )


def _state(fresh: ObservedGuard | None, known: ObservedGuard | None, *, killed: bool, limited: bool) -> GuardState:
    if killed:
        return GuardState.KILLED
    if known is not None and known.problem:
        return GuardState.LOST
    if known is not None and known.trips:
        return GuardState.TRIPPED
    if not limited:
        return GuardState.OFF
    return GuardState.PENDING if fresh is None else GuardState.WATCHING


def _used(loss: GuardLoss) -> UsedOut:
    share = 1.0 if loss.limit <= 0 else min(1.0, max(0.0, loss.figure / loss.limit))
    return UsedOut(switch=loss.switch, lost=_money(loss.figure), limit=_money(loss.limit), share=round(share, 4))


def _money(amount: float) -> str:
    return f"{money(amount):.2f}"


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def present_switch(row: KillSwitch, counts: Mapping[str, int], reader: str) -> KillSwitchOut:
    """`reader` is the e-mail address of who will see it."""
    return KillSwitchOut.model_validate(_facts(row, counts, reader))


def present_report(row: KillSwitch, views: Sequence[TargetView], reader: str) -> KillReportOut:
    counts: dict[str, int] = {}
    for view in views:
        counts[view.target.state] = counts.get(view.target.state, 0) + 1
    return KillReportOut.model_validate({**_facts(row, counts, reader), "targets": [_target(view) for view in views]})


def _facts(row: KillSwitch, counts: Mapping[str, int], reader: str) -> dict[str, object]:
    listed = row.spread_at is not None
    return {
        "id": row.id,
        "scope": row.scope,
        "mode": row.mode,
        "reason": row.reason,
        "thrown_by_you": row.thrown_by == reader,
        "thrown_at": row.thrown_at,
        "released_at": row.released_at,
        "listed": listed,
        "counts": counts,
        "finished": listed and set(counts) <= {TargetState.DONE},
    }


def _target(view: TargetView) -> KillTargetOut:
    target = view.target
    return KillTargetOut(
        account_id=target.account_id,
        login=view.account.login,
        server=view.account.server,
        state=TargetState(target.state),
        positions=target.positions,
        orders=target.orders,
        note=target.note,
        seen_at=target.seen_at,
        done_at=target.done_at,
    )
