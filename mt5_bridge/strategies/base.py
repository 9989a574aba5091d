"""The contract between a strategy and the bot that runs it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy.typing as npt


class ParameterError(ValueError):
    """A parameter that the strategy cannot work with. The message is safe to show."""


@dataclass(frozen=True)
class Parameter:
    """One setting that a user may change; the portal builds its form from this."""

    name: str
    title: str
    help: str
    type: type[int] | type[float] | type[bool]
    default: float
    minimum: float | None = None
    maximum: float | None = None

    def read(self, value: Any) -> Any:
        """The value in the parameter's type. Raises ParameterError."""
        if self.type is bool:
            if not isinstance(value, bool):
                raise ParameterError(f"{self.title} must be yes or no")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ParameterError(f"{self.title} must be a number")
        if self.type is int and value != int(value):
            raise ParameterError(f"{self.title} must be a whole number")
        if self.minimum is not None and value < self.minimum:
            raise ParameterError(f"{self.title} must be at least {self.minimum:g}")
        if self.maximum is not None and value > self.maximum:
            raise ParameterError(f"{self.title} must be at most {self.maximum:g}")
        return self.type(value)


class Side(Enum):
    """What a bot holds, or should hold. The value is MT5's order type that opens it."""

    LONG = 0
    SHORT = 1


@dataclass(frozen=True)
class Target:
    """What to hold from now on: a side, or nothing. Distances are points from the opening price; 0 is none."""

    side: Side | None
    stop_loss_points: int = 0
    take_profit_points: int = 0


class Strategy(ABC):
    """A strategy decides; it never trades. One object serves one bot and sees its bars in order."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Read the parameters; absent ones have their defaults. Raises ParameterError."""
        unknown = set(values) - {parameter.name for parameter in self.parameters}
        if unknown:
            raise ParameterError(f"{self.title} has no parameter {min(unknown)!r}")
        self.settings: dict[str, Any] = {
            parameter.name: parameter.read(values.get(parameter.name, parameter.default))
            for parameter in self.parameters
        }

    @property
    @abstractmethod
    def bars_needed(self) -> int:
        """Closed bars that `on_bar` needs to decide."""

    def on_start(self) -> None:  # noqa: B027 - may be left out
        """The bot is connected and about to give the first bar."""

    @abstractmethod
    def on_bar(self, bars: npt.NDArray[Any], held: Side | None) -> Target | None:
        """A bar has closed. `bars` are the latest closed ones, oldest first, with the dtype of copy_rates.

        `held` is what the bot holds. None keeps everything as it is.
        """

    def on_stop(self) -> None:  # noqa: B027 - may be left out
        """The bot ends; positions stay as they are."""
