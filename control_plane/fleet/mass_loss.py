"""The breaker: when many nodes fall silent at once, the fault is ours, and nothing is moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.audit.service import THE_FARM, Audit, Deed
from control_plane.clock import Clock
from control_plane.errors import ConflictError
from control_plane.fleet import repository
from control_plane.fleet.model import RelocationBreaker
from control_plane.fleet.repository import Silence
from control_plane.fleet.state import BreakerState, Fall, NodeState, judge_breaker, tolerated_losses
from control_plane.identity import repository as identity_repository
from control_plane.identity.state import OPERATOR

BREAKER = "relocation"


@dataclass(frozen=True)
class Losses:
    """The silent part of the fleet. Nodes that the farm or an operator has given up do not count."""

    falls: tuple[Fall, ...]
    heard: int

    @property
    def nodes(self) -> int:
        return self.heard + len(self.falls)

    @property
    def tolerated(self) -> int:
        return tolerated_losses(self.nodes)


class MassLoss:
    def __init__(self, audit: Audit, clock: Clock, lease: timedelta) -> None:
        self._audit = audit
        self._clock = clock
        self._lease = lease

    def losses(self, session: Session) -> Losses:
        """Silence is counted at once, also where no round has judged it yet, since that only makes us more careful."""
        now = self._clock.now()
        counted = [each for each in repository.silences(session) if each.counts]
        falls = [fall for each in counted if (fall := self._fall(each, now)) is not None]
        return Losses(tuple(falls), len(counted) - len(falls))

    def is_frozen(self, session: Session) -> bool:
        """Whether relocation must not happen in this transaction."""
        return self._judge(session, repository.breaker(session, BREAKER)) is BreakerState.OPEN

    def update(self, session: Session) -> None:
        """Write the breaker's state down and say when it changes."""
        row = self._row(session)
        state = self._judge(session, row)
        if row.state == state:
            return
        losses = self.losses(session)
        note = f"{len(losses.falls)} of {losses.nodes} nodes are silent."
        row.state, row.note, row.changed_at = state, note, self._clock.now()
        action = "freeze_relocation" if state is BreakerState.OPEN else "thaw_relocation"
        self._record(session, Deed(THE_FARM, action, BREAKER, note))

    def lift(self, session: Session, actor: str, reason: str) -> None:
        """The nodes that are silent now are really gone, says an operator. Raises ConflictError if not frozen."""
        row = self._row(session)
        if self._judge(session, row) is not BreakerState.OPEN:
            raise ConflictError("Relocation is not frozen.", code="breaker_closed")
        now = self._clock.now()
        row.state, row.changed_at, row.note = BreakerState.CLOSED, now, reason
        row.lifted_at, row.lifted_by = now, actor
        self._record(session, Deed(actor, "lift_breaker", BREAKER, reason))

    def _record(self, session: Session, deed: Deed) -> None:
        """The fleet belongs to the operator."""
        operator = identity_repository.tenant_by_kind(session, OPERATOR)
        assert operator is not None, "the operator's tenant is made at the first start"
        self._audit.record(session, operator.id, deed)

    def _judge(self, session: Session, row: RelocationBreaker | None) -> BreakerState:
        losses = self.losses(session)
        return judge_breaker(losses.falls, losses.heard, None if row is None else row.lifted_at)

    def _fall(self, node: Silence, now: datetime) -> Fall | None:
        if node.state is not NodeState.ONLINE:
            # Judged by a control plane that had listened since `silent_since` at the latest.
            return Fall(node.last_seen_at, node.silent_since or node.last_seen_at)
        return Fall(node.last_seen_at, now) if now - node.last_seen_at > self._lease else None

    def _row(self, session: Session) -> RelocationBreaker:
        row = repository.breaker(session, BREAKER)
        if row is None:
            row = RelocationBreaker(
                name=BREAKER, state=BreakerState.CLOSED, changed_at=self._clock.now(), note="", lifted_by=""
            )
            session.add(row)
            session.flush()
        return row
