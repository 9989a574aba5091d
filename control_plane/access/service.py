"""Reach the terminal of an account: for its owner by ticket, for the control plane's own questions directly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from control_plane.access.port import (
    SERVICE_PRINCIPAL,
    LinkLostError,
    RefusedError,
    Target,
    TerminalDoor,
    TerminalSession,
)
from control_plane.accounts.repository import AccountView
from control_plane.accounts.service import require_view
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import is_leaving
from control_plane.clock import Clock
from control_plane.errors import ConflictError, FarmError
from control_plane.fleet.model import Node
from control_plane.fleet.state import IdentityState
from control_plane.identity.owner import Owner
from control_plane.terminals.model import Terminal
from control_plane.terminals.schemas import ScreenOut
from control_plane.terminals.screen import screen_of
from control_plane.terminals.service import present_terminal
from control_plane.terminals.state import ANSWERING_PHASES
from node_agent.protocol.tickets import Scope

_Answer = TypeVar("_Answer")


def not_ready(detail: str) -> ConflictError:
    """The error for a terminal that cannot answer now but may soon."""
    return ConflictError(detail, code="terminal_not_ready", retryable=True, retry_after=2)


def assigned_target(view: AccountView) -> Target:
    """How to reach the terminal. Raises ConflictError while it has no place on a node."""
    if view.assignment is None or view.node is None:
        raise not_ready("The terminal has no place on a node yet.")
    if is_leaving(view.assignment.state):
        raise not_ready("The terminal is moving to another node.")
    if view.node.identity_state != IdentityState.TRUSTED:
        raise not_ready("The terminal's node is not trusted at the moment.")
    return target_of(view.terminal, view.assignment, view.node)


def visible_target(view: AccountView) -> Target:
    """How to reach the terminal's screen. Raises ConflictError with the reason in plain words while nobody can."""
    target = assigned_target(view)
    current = view.observation if view.observation and view.observation.epoch == target.epoch else None
    require_screen(screen_of(view.assignment, current))
    return target


def require_screen(screen: ScreenOut) -> None:
    """Raises ConflictError."""
    if not screen.available:
        raise ConflictError(screen.note, code="no_screen")


def target_of(terminal: Terminal, assignment: Assignment, node: Node) -> Target:
    return Target(terminal.id, node.id, node.gateway_address, assignment.epoch, terminal.access_epoch)


def answering_target(session: Session, owner: Owner, account_id: str, clock: Clock) -> Target:
    """How to reach a terminal that answers. Raises NotFoundError, or ConflictError with the reason in plain words."""
    return target_that_answers(require_view(session, owner, account_id), clock.now())


def target_that_answers(view: AccountView, now: datetime) -> Target:
    """The same of an account that is known. Raises ConflictError."""
    target = assigned_target(view)
    shown = present_terminal(view.terminal, view.observation, view.assignment, view.node, now)
    if shown.phase not in ANSWERING_PHASES:
        raise not_ready(f"The terminal is not ready. {shown.explanation}")
    return target


def ask(
    door: TerminalDoor, target: Target, question: Callable[[TerminalSession], _Answer], scope: Scope = Scope.READ
) -> _Answer:
    """Put a question that may be put twice; a pooled link that broke in the meantime is replaced once."""
    try:
        return _ask_once(door, target, question, scope)
    except LinkLostError:
        pass
    try:
        return _ask_once(door, target, question, scope)
    except LinkLostError as error:
        raise not_ready("The link to the terminal was lost; please try again.") from error


def _ask_once(
    door: TerminalDoor, target: Target, question: Callable[[TerminalSession], _Answer], scope: Scope
) -> _Answer:
    with door.session(target, scope, SERVICE_PRINCIPAL) as terminal:
        try:
            return question(terminal)
        except RefusedError as refusal:
            raise refusal_error(refusal) from refusal


def refusal_error(refusal: RefusedError) -> FarmError:
    return not_ready(f"The terminal did not answer: {refusal.message}.")
