"""How the package's C code reads single Python values: integers, floats, texts and dates."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

MAX_SYMBOL: Final = 29
"""Characters of a symbol or comment that the package accepts (A9)."""


def text(value: object, limit: int | None = MAX_SYMBOL) -> bool:
    """Whether the package accepts the value as text."""
    return isinstance(value, str) and (limit is None or len(value) <= limit)


def c_int(value: Any) -> int:
    """A C int: anything with __index__. TypeError for floats and texts, OverflowError beyond 32 bits."""
    number = operator.index(value)
    if not -(2**31) <= number < 2**31:
        raise OverflowError("Python int too large to convert to C int")
    return number


def c_double(value: Any) -> float:
    """A C double: ints and objects with __float__ are taken, texts are not (TypeError)."""
    if isinstance(value, str | bytes) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"must be real number, not {type(value).__name__}")
    return float(value)


def unsigned(value: int, bits: int) -> int:
    """An unsigned C integer. OverflowError for what does not fit (A8)."""
    if value < 0:
        raise OverflowError("can't convert negative int to unsigned")
    if value >= 2**bits:
        raise OverflowError("Python int too large to convert to C unsigned long")
    return int(value)


def date(value: object) -> int:
    """Whole seconds since 1970 of a date argument (C2).

    A naive datetime is local time of this machine. ValueError for other types, OverflowError beyond 32 bits.
    """
    if isinstance(value, datetime):
        seconds = int(value.timestamp())
    elif isinstance(value, int | float) and math.isfinite(value):
        seconds = int(value)
    else:
        raise ValueError("not a date")
    if not -(2**31) <= seconds < 2**31:
        raise OverflowError("Python int too large to convert to C long")
    return seconds


class Slot(Enum):
    """What a positional argument is read as."""

    SYMBOL = "symbol"
    INT = "int"
    FLOAT = "float"
    DATE = "date"
    TRUTH = "truth"

    def convert(self, value: Any) -> Any:
        """The plain value. Raises TypeError, OverflowError or ValueError as the C conversion fails."""
        match self:
            case Slot.SYMBOL:
                return str(value)
            case Slot.INT:
                return c_int(value)
            case Slot.FLOAT:
                return c_double(value)
            case Slot.DATE:
                return date(value)
            case Slot.TRUTH:
                return bool(value)


@dataclass(frozen=True)
class Parameter:
    """One field of a trade request: an integer of `bits`, a text, or else a float."""

    name: str
    bits: int = 0
    signed: bool = False
    is_text: bool = False

    def convert(self, value: Any) -> int | float | str:
        """The plain value. TypeError for a wrong type and ValueError for a long text (I3, A9), OverflowError (A8)."""
        if self.is_text:
            if not text(value):
                raise ValueError(self.name)
            return str(value)
        if not self.bits:
            if not isinstance(value, float):
                raise TypeError(self.name)
            return float(value)
        if not isinstance(value, int):
            raise TypeError(self.name)
        if self.signed:
            if not -(2**63) <= value < 2**63:
                raise OverflowError("Python int too large to convert to C long")
            return int(value)
        return unsigned(value, self.bits)
