"""Write down what changes about a terminal, who changed it and why: its timeline, from which uptime is counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.ids import new_id
from control_plane.terminals.model import Terminal, TerminalTransition
from control_plane.terminals.repository import TerminalColumns
from control_plane.terminals.state import Actor, TransitionKind

_NOTE_LIMIT = 300


@dataclass(frozen=True)
class Transition:
    """From what to what. `reason` is a stable code, `note` words for the owner of the account."""

    kind: TransitionKind
    before: str
    after: str
    actor: Actor
    reason: str = ""
    note: str = ""
    node_id: str | None = None


def record(
    session: Session,
    terminal: Terminal | TerminalColumns,
    transition: Transition,
    at: datetime,
    epoch: int | None = None,
) -> None:
    """In the transaction that makes the change. Without an epoch it is the newest one of the terminal."""
    session.add(
        TerminalTransition(
            id=new_id("ttr"),
            tenant_id=terminal.tenant_id,
            terminal_id=terminal.id,
            at=at,
            kind=transition.kind,
            before=transition.before,
            after=transition.after,
            reason=transition.reason,
            note=transition.note[:_NOTE_LIMIT],
            actor=transition.actor,
            node_id=transition.node_id,
            epoch=terminal.last_epoch if epoch is None else epoch,
        )
    )
