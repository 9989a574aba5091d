"""Is an order one that can be right? Decided before anything is sent, in exact arithmetic."""

from __future__ import annotations

from decimal import Decimal

from control_plane.access.market import SymbolSpec
from control_plane.errors import FieldError, InvalidInputError


def check_volume(volume: float, spec: SymbolSpec, open_volume: float | None = None) -> None:
    """Raises InvalidInputError for a volume outside the symbol's limits, off its step, or above the open position's."""
    lots = Decimal(repr(volume))
    problem = _volume_problem(lots, spec)
    if problem is None and open_volume is not None and lots > Decimal(repr(open_volume)):
        problem = f"The position has only {open_volume:g} lots."
    if problem is not None:
        raise InvalidInputError(problem, code="invalid_volume", errors=[FieldError("volume", problem)])


def _volume_problem(lots: Decimal, spec: SymbolSpec) -> str | None:
    if lots < spec.volume_min:
        return f"The smallest volume for {spec.name} is {spec.volume_min.normalize():f} lots."
    if lots > spec.volume_max:
        return f"The largest volume for {spec.name} is {spec.volume_max.normalize():f} lots."
    if spec.volume_step > 0 and lots % spec.volume_step != 0:
        return f"The volume for {spec.name} must be a multiple of {spec.volume_step.normalize():f} lots."
    return None
