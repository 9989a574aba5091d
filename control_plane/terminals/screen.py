"""Whether a terminal's screen can be looked at, and if not, why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from control_plane.assignments.model import Assignment
from control_plane.terminals.model import TerminalObservation
from control_plane.terminals.schemas import ScreenOut
from control_plane.terminals.shown import ObservationShown, PlaceShown
from node_agent.protocol.messages import Phase

_WITHOUT: Final[Mapping[str, str]] = {
    "simulated": "Simulated terminals have no screen.",
    "windows_process": "The screens of terminals on Windows nodes cannot be shown here.",
}
_SWITCHED_OFF: Final = "The terminal's node does not show screens. Its operator can switch that on."
_RUNNING: Final = frozenset({Phase.LOGGING_IN, Phase.READY, Phase.DEGRADED})
"""Phases in which the program surely runs."""
_NOT_RUNNING: Final = "The terminal does not run at the moment."


def screen_of(
    assignment: Assignment | PlaceShown | None, seen: TerminalObservation | ObservationShown | None
) -> ScreenOut:
    """`seen` is what the node says of the present epoch, if it has said anything."""
    if assignment is None:
        return ScreenOut(available=False, note=_NOT_RUNNING)
    if assignment.runtime in _WITHOUT:
        return ScreenOut(available=False, note=_WITHOUT[assignment.runtime])
    if seen is None or not (seen.screen or seen.phase in _RUNNING):
        return ScreenOut(available=False, note=_NOT_RUNNING)
    return ScreenOut(available=seen.screen, note="" if seen.screen else _SWITCHED_OFF)
