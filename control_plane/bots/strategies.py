"""The strategies that bots can run, as the bridge declares them."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.bots.schemas import StrategyOut
from control_plane.errors import FieldError, InvalidInputError, invalid_field
from mt5_bridge.strategies.base import ParameterError, Strategy
from mt5_bridge.strategies.registry import BUILT_IN, catalogue


def list_strategies() -> list[StrategyOut]:
    return [StrategyOut.model_validate({**each, "description": each["help"]}) for each in catalogue()]


def check_parameters(strategy: str, values: Mapping[str, int | float]) -> dict[str, int | float]:
    """All parameters in their own types, defaults filled in. Raises InvalidInputError, naming each wrong one."""
    kind = BUILT_IN.get(strategy)
    if kind is None:
        raise invalid_field("strategy", f"There is no strategy '{strategy}'.", code="unknown_strategy")
    errors = _parameter_errors(kind, values)
    if errors:
        raise InvalidInputError(errors[0].message, code="invalid_parameters", errors=errors)
    try:
        return dict(kind(values).settings)
    except ParameterError as error:
        raise invalid_field("parameters", f"{error}.", code="invalid_parameters") from error


def _parameter_errors(kind: type[Strategy], values: Mapping[str, int | float]) -> list[FieldError]:
    known = {parameter.name: parameter for parameter in kind.parameters}
    errors = []
    for name, value in values.items():
        if name not in known:
            errors.append(FieldError(f"parameters.{name}", f"The strategy has no parameter '{name}'."))
            continue
        try:
            known[name].read(value)
        except (ParameterError, OverflowError, ValueError) as error:
            errors.append(FieldError(f"parameters.{name}", f"{error}."))
    return errors
