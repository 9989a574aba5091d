"""How the package's C code reads single Python values: integers, floats, texts and dates."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

MAX_SYMBOL: Final = 29
"""UTF-16 units of a symbol or comment that the package accepts (A9)."""
_HEAP_TYPE: Final = 1 << 9


class UnreadableDateError(Exception):
    """A datetime that has no timestamp; the cause says why."""


def text(value: object, limit: int = MAX_SYMBOL) -> bool:
    """Whether the package accepts the value as text. Letters beyond U+FFFF count twice."""
    if not isinstance(value, str):
        return False
    if value.isascii() or len(value) * 2 <= limit:
        return len(value) <= limit
    return len(value.encode("utf-16-le", "surrogatepass")) <= limit * 2


def c_name(kind: type) -> str:
    """A type's name as C code sees it: with its module for types written in C, but for the built-in ones."""
    in_python = bool(kind.__flags__ & _HEAP_TYPE)
    return kind.__name__ if in_python or kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def c_int(value: Any) -> int:
    """A C int: anything with __index__. TypeError for floats and texts, OverflowError beyond 32 bits."""
    number = int(operator.index(value))
    if not _fits(number):
        raise OverflowError("Python int too large to convert to C long")
    return number


def c_double(value: Any) -> float:
    """A C double: ints and objects with __float__ are taken, texts are not (TypeError)."""
    if isinstance(value, str | bytes) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"must be real number, not {c_name(type(value))}")
    return float(value)


def unsigned(value: int, bits: int) -> int:
    """An unsigned C integer of 32 or 64 bits. OverflowError for what does not fit (A8)."""
    # Python converts to the two widths in different functions, which have words of their own.
    if value < 0:
        raise OverflowError(
            "can't convert negative int to unsigned" if bits > 32 else "can't convert negative value to unsigned int"
        )
    if value >= 2**bits:
        raise OverflowError(
            "int too big to convert" if bits > 32 else "Python int too large to convert to C unsigned long"
        )
    return int(value)


def date(value: object) -> float:
    """Whole seconds since 1970 of a date argument (C2): an int within 32 bits, a float beyond.

    A naive datetime is local time of this machine. Floats and datetimes may have any size, ints may not: OverflowError
    beyond 32 bits. TypeError for other types, UnreadableDateError for a datetime without a timestamp.
    """
    if isinstance(value, int):
        return c_int(value)
    if isinstance(value, datetime):
        try:
            value = value.timestamp()
        except (OSError, ValueError, OverflowError) as error:
            raise UnreadableDateError from error
    if not isinstance(value, float):
        raise TypeError("not a date")
    # What no 64-bit integer can hold becomes the smallest one, as a processor converts it; so does nan.
    seconds = int(value) if abs(value) < 2**63 else -(2**63)
    return seconds if _fits(seconds) else float(seconds)


def _fits(number: int) -> bool:
    return -(2**31) <= number < 2**31


class Slot(Enum):
    """What a positional argument is read as."""

    SYMBOL = "symbol"
    INT = "int"
    FLOAT = "float"
    DATE = "date"
    TRUTH = "truth"

    def number(self, value: Any) -> Any:
        """A numeric slot's plain value, another slot's as it is. Raises what the value's own methods raise."""
        match self:
            case Slot.INT:
                return c_int(value)
            case Slot.FLOAT:
                return c_double(value)
            case Slot.TRUTH:
                return bool(value)
        return value


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
                raise OverflowError("int too big to convert")
            return int(value)
        return unsigned(value, self.bits)
