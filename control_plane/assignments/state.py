"""States of an assignment."""

from __future__ import annotations

from enum import StrEnum

from control_plane.errors import ConflictError


class AssignmentState(StrEnum):
    RESERVED = "reserved"
    """The slot is taken; the node has not reported the terminal yet."""
    ACTIVE = "active"
    SUSPECT = "suspect"
    """The node is lost; the terminal may or may not run."""
    REVOKED = "revoked"
    """Being taken away; the node has to stop the terminal."""
    FENCED = "fenced"
    """Proven dead although the node did not confirm."""
    RELEASED = "released"


_ALLOWED: dict[AssignmentState, frozenset[AssignmentState]] = {
    AssignmentState.RESERVED: frozenset(
        {AssignmentState.ACTIVE, AssignmentState.SUSPECT, AssignmentState.REVOKED, AssignmentState.RELEASED}
    ),
    AssignmentState.ACTIVE: frozenset({AssignmentState.SUSPECT, AssignmentState.REVOKED, AssignmentState.RELEASED}),
    AssignmentState.SUSPECT: frozenset(
        {AssignmentState.ACTIVE, AssignmentState.REVOKED, AssignmentState.FENCED, AssignmentState.RELEASED}
    ),
    AssignmentState.REVOKED: frozenset({AssignmentState.FENCED, AssignmentState.RELEASED}),
    AssignmentState.FENCED: frozenset({AssignmentState.RELEASED}),
    AssignmentState.RELEASED: frozenset(),
}


def is_leaving(state: str) -> bool:
    """Whether the node has to stop the terminal whatever its user wants."""
    return state == AssignmentState.REVOKED


def may_become(present: AssignmentState, wanted: AssignmentState) -> bool:
    return wanted in _ALLOWED[present]


def change(present: AssignmentState, wanted: AssignmentState) -> AssignmentState:
    """The new state. Raises ConflictError for a transition that does not exist."""
    if wanted is not present and not may_become(present, wanted):
        raise ConflictError(f"An assignment that is {present} cannot become {wanted}.", code="bad_transition")
    return wanted
