"""Throw a kill switch, follow it until nothing is open, and release it.

What is wished is a row; nodes are told with their snapshots, so that no order to close can be lost. How far it has
come is judged again and again from what they report, by whichever process runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy.orm import Session

from control_plane.assignments.state import is_leaving
from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.db.bulk import put_rows
from control_plane.db.engine import Database
from control_plane.db.tenancy import as_system
from control_plane.fleet.service import Fleet
from control_plane.ids import new_id
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.risk import repository
from control_plane.risk.model import KillSwitch, KillTarget
from control_plane.risk.repository import TargetView
from control_plane.risk.service import Risk, as_switch
from control_plane.risk.state import (
    Facts,
    InForce,
    KillMode,
    KillScope,
    Subject,
    TargetState,
    in_force,
    judge,
)
from control_plane.terminals.state import Hold, Intent, should_run
from node_agent.protocol.messages import ObservedGuard

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Throw:
    """Who stops whom, and why."""

    scope: KillScope
    subject_id: str
    tenant_id: str
    mode: KillMode
    actor: str
    reason: str


class KillSwitches:
    def __init__(
        self, database: Database, risk: Risk, fleet: Fleet, outbox: Outbox, audit: Audit, clock: Clock
    ) -> None:
        self._database = database
        self._risk = risk
        self._fleet = fleet
        self._outbox = outbox
        self._audit = audit
        self._clock = clock

    def throw(self, session: Session, throw: Throw) -> str:
        """Gives the id; throwing what is in force already changes nothing."""
        known = repository.same_in_force(session, throw.scope, throw.subject_id, throw.mode)
        if known is not None:
            return known.id
        row = KillSwitch(
            id=new_id("kil"),
            tenant_id=throw.tenant_id,
            scope=throw.scope,
            subject_id=throw.subject_id,
            mode=throw.mode,
            reason=throw.reason,
            thrown_by=throw.actor,
            thrown_at=self._clock.now(),
        )
        session.add(row)
        session.flush()
        facts = {"scope": throw.scope, "subject": throw.subject_id, "mode": throw.mode}
        deed = Deed(throw.actor, "throw_kill_switch", row.id, throw.reason, after=facts)
        self._audit.record(session, throw.tenant_id, deed)
        self._outbox.put(session, JobKind.SPREAD_KILL_SWITCH, row.id)
        return row.id

    def spread(self, kill_id: str) -> None:
        """The job: list the accounts that it concerns and tell their nodes. Doing it again changes nothing."""
        with self._database.write_as_system() as session:
            row = repository.switch(session, kill_id, hold=True)
            if row is None or row.released_at is not None:
                return
            found = repository.accounts_in_scope(session, row)
            rows = [
                {
                    "kill_id": row.id,
                    "account_id": account.id,
                    "tenant_id": account.tenant_id,
                    "state": TargetState.WAITING,
                    "positions": None,
                    "orders": None,
                    "note": "",
                    "seen_at": None,
                    "done_at": None,
                }
                for account, _ in found
            ]
            put_rows(session, KillTarget, rows, keep=True)
            row.spread_at = row.spread_at or self._clock.now()
            self._fleet.desired_changed(session, *sorted({node_id for _, node_id in found if node_id}))
            for account, _ in found:
                self._risk.announce(session, account)
            _log.warning("kill_switch_spread", kill=row.id, scope=row.scope, mode=row.mode, accounts=len(found))

    def follow(self) -> None:
        """Judge how far every account has come that is not done; once nothing is open, its terminal is stopped."""
        with self._database.write_as_system() as session:
            views = repository.open_targets(session)
            if not views:
                return
            rows = repository.switches_in_force(session)
            switches, by_id = [as_switch(row) for row in rows], {row.id: row for row in rows}
            for view in views:
                account = view.account
                force = in_force(switches, Subject(account.id, account.user_id, account.tenant_id))
                self._follow_one(session, by_id[view.target.kill_id], view, force)

    def _follow_one(self, session: Session, row: KillSwitch, view: TargetView, force: InForce) -> None:
        target, facts, mode = view.target, facts_of(row, view, force), KillMode(row.mode)
        verdict = judge(facts, mode, self._clock.now())
        before = target.state, target.positions, target.orders, target.note
        target.state, target.note = verdict.state, verdict.note[:300]
        if facts.knows_switch:
            target.positions, target.orders, target.seen_at = facts.positions, facts.orders, facts.seen_at
        if verdict.state is TargetState.DONE:
            target.done_at = self._clock.now()
            if mode is KillMode.CLOSE_ALL:
                self._risk.hold(session, view.account.id, f"kill switch: {row.reason}")
        if before != (target.state, target.positions, target.orders, target.note):
            self._risk.announce(session, view.account)

    def release(self, session: Session, row: KillSwitch, actor: str) -> None:
        """Let the accounts trade again, as far as no other switch holds them. Releasing twice changes nothing."""
        if row.released_at is not None:
            return
        row.released_at, row.released_by = self._clock.now(), actor
        self._audit.record(session, row.tenant_id, Deed(actor, "release_kill_switch", row.id, ""))
        session.flush()
        with as_system(session):
            found = repository.accounts_in_scope(session, row)
            self._fleet.desired_changed(session, *sorted({node_id for _, node_id in found if node_id}))
            for account, _ in found:
                self._risk.lift_hold(session, account, actor)
                self._risk.announce(session, account)


def facts_of(row: KillSwitch, view: TargetView, force: InForce) -> Facts:
    assignment, terminal, seen = view.assignment, view.terminal, view.observation
    runs = should_run(Intent(terminal.intent), Hold(terminal.hold)) and assignment is not None
    if not runs or assignment is None or seen is None or seen.epoch != assignment.epoch:
        return Facts(runs=runs, thrown_at=row.thrown_at)
    guard = ObservedGuard.model_validate(seen.body)
    return Facts(
        runs=not is_leaving(assignment.state),
        thrown_at=row.thrown_at,
        reported_at=seen.reported_at,
        seen_at=seen.reported_at,
        knows_switch=guard.kill_id == force.token,
        flat=guard.flat,
        positions=guard.positions,
        orders=guard.orders,
        problem=guard.closing_problem,
    )
