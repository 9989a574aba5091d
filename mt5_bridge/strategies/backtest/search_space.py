"""Which combinations of parameters a search tries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mt5_bridge.strategies.base import ParameterError, Strategy

MOST_COMBINATIONS: Final = 10_000

Create = Callable[[Mapping[str, Any]], Strategy]
"""Makes a strategy of parameters; raises ParameterError."""


class SearchError(ValueError):
    """A search that cannot be made. The message is safe to show."""


def values_of(text: str) -> list[float]:
    """The values of a range: `5,10,20` or `FIRST:LAST:STEP`, both ends inclusive. Raises SearchError."""
    try:
        if ":" not in text:
            return [_number(float(part)) for part in text.split(",")]
        first, last, step = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise SearchError(f"{text!r} is neither values like 5,10,20 nor a range like 5:20:5") from error
    return values_between(first, last, step)


def values_between(first: float, last: float, step: float) -> list[float]:
    """From `first` to `last`, both inclusive, whole numbers as such. Raises SearchError."""
    if not (step > 0 and first <= last and math.isfinite(last - first)):
        raise SearchError("a range must rise from its first to its last value by a step above 0")
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > MOST_COMBINATIONS:
        raise SearchError(f"a range has {count:,} values; at most {MOST_COMBINATIONS:,} can be tried")
    return [_number(round(first + step * number, 10)) for number in range(count)]


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return int(value) if float(value).is_integer() else value


def combinations(
    create: Create, fixed: Mapping[str, Any], ranges: Mapping[str, Sequence[float]], most: int = MOST_COMBINATIONS
) -> list[dict[str, Any]]:
    """All combinations that the strategy accepts, without running any. Raises SearchError."""
    count = math.prod(len(values) for values in ranges.values())
    if count > most:
        raise SearchError(f"these are {count:,} combinations; at most {most:,} can be tried, make the steps larger")
    found, refused = [], ""
    for values in itertools.product(*ranges.values()):
        parameters = dict(fixed) | dict(zip(ranges, values, strict=True))
        try:
            found.append(dict(create(parameters).settings))
        except ParameterError as error:
            refused = str(error)
    if not found:
        raise SearchError(f"the strategy accepts none of the combinations: {refused}")
    return found
