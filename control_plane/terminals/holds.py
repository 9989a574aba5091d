"""Hold terminals back and let them go: for the operator, for what is unpaid and for limits of risk."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.assignments import repository as assignments_repository
from control_plane.audit.service import Audit, Deed
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.errors import ConflictError
from control_plane.fleet.service import Fleet
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.terminals.model import Terminal
from control_plane.terminals.state import Actor, Hold, Intent, TransitionKind, change_hold
from control_plane.terminals.transitions import Transition, record


class Holds:
    """Both methods belong into one transaction with what they are done for."""

    def __init__(self, fleet: Fleet, outbox: Outbox, audit: Audit, bus: Bus, clock: Clock) -> None:
        self._fleet = fleet
        self._outbox = outbox
        self._audit = audit
        self._bus = bus
        self._clock = clock

    def hold(self, session: Session, terminal: Terminal, kind: Hold, deed: Deed, actor: Actor) -> None:
        """Stop the terminal until the hold is lifted. The deed's action and subject are filled in here.

        Raises ConflictError for a removed account, and while a stronger hold is on it.
        """
        if terminal.intent == Intent.DELETED:
            raise ConflictError("This account has been removed.", code="account_deleted")
        self._change(session, terminal, kind, deed, actor)

    def lift(self, session: Session, terminal: Terminal, kind: Hold, deed: Deed, actor: Actor) -> None:
        """End a hold of this kind. Raises ConflictError when there is none: another kind is for others to lift."""
        if terminal.hold != kind:
            raise ConflictError(f"It is not held by {kind}: its hold is {terminal.hold}.", code="not_held")
        self._change(session, terminal, Hold.NONE, deed, actor)

    def _change(self, session: Session, terminal: Terminal, wanted: Hold, deed: Deed, actor: Actor) -> None:
        present = Hold(terminal.hold)
        if change_hold(present, wanted) is present:
            return
        now = self._clock.now()
        terminal.hold, terminal.changed_at = wanted, now
        record(session, terminal, Transition(TransitionKind.HOLD, present, wanted, actor), now)
        action = "lift_hold" if wanted is Hold.NONE else "hold_terminal"
        done = replace(deed, action=action, subject_id=terminal.id, before={"hold": present}, after={"hold": wanted})
        self._audit.record(session, terminal.tenant_id, done)
        self._outbox.put(session, JobKind.PLACE_TERMINAL, terminal.id)
        assignment = assignments_repository.alive(session, terminal.tenant_id, terminal.id)
        if assignment is not None:
            self._fleet.desired_changed(session, assignment.node_id)
        account = accounts_repository.of_tenant(session, terminal.tenant_id, terminal.account_id)
        if account is not None:
            change = Change(Topic.ACCOUNT, account.id, account.user_id, account.id)
            after_commit(session, lambda: self._bus.publish(change))
