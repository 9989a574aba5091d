"""CSV that spreadsheets take as what it is: no cell becomes a formula, no number loses digits, no row falls apart.

UTF-8 with a byte order mark, by which spreadsheets know the encoding; rows end with CR LF as in RFC 4180.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

BYTE_ORDER_MARK = "\ufeff"
_LINE_END = "\r\n"
_DANGEROUS = frozenset("=+-@＝＋－＠|%")  # noqa: RUF001 - full-width forms are formulas to some spreadsheets
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_INVISIBLE = re.compile(r"^[\s\u200b-\u200f\u2060\ufeff']*")
_EXACT_DIGITS = 15
"""Spreadsheets keep numbers as binary fractions, which hold so many digits."""

Cell = str | int | float | Decimal | datetime | None


class Separator(StrEnum):
    COMMA = "comma"
    SEMICOLON = "semicolon"
    TAB = "tab"


_SIGNS = {Separator.COMMA: ",", Separator.SEMICOLON: ";", Separator.TAB: "\t"}


def csv_rows(
    header: Sequence[str], rows: Iterable[Sequence[Cell]], separator: Separator = Separator.COMMA
) -> Iterator[str]:
    """The file in pieces, one for each row."""
    sign = _SIGNS[separator]
    yield BYTE_ORDER_MARK + sign.join(map(cell, header)) + _LINE_END
    for row in rows:
        yield sign.join(map(cell, row)) + _LINE_END


def cell(value: Cell) -> str:
    """One cell. Numbers stand bare, texts in quotes; a number that would lose digits is a text.

    Raises ValueError for a number that is none.
    """
    match value:
        case None:
            return ""
        case str():
            return _quoted(safe_text(value))
        case datetime():
            return _quoted(value.isoformat(sep=" ", timespec="milliseconds"))
        case int():
            return _quoted(f"'{value}") if len(str(abs(value))) > _EXACT_DIGITS else str(value)
        case float() | Decimal():
            return _number(value)


def safe_text(text: str) -> str:
    """Without characters that end rows or are not shown, and never with a beginning that a spreadsheet would compute:
    such a text gets an apostrophe before it, which spreadsheets read as "this is text".
    """
    shown = _CONTROLS.sub(" ", text)
    begins = _INVISIBLE.sub("", shown)[:1]
    # A text that begins with an apostrophe gets one more, so that taking one away always gives the text back.
    return f"'{shown}" if (begins in _DANGEROUS and begins) or shown.startswith("'") else shown


def _number(value: float | Decimal) -> str:
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if not exact.is_finite():
        raise ValueError("not a number that a file could hold")
    text = f"{exact:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = "0" if text == "-0" else text
    digits = text.lstrip("-").replace(".", "").lstrip("0")
    # Digits of a price beyond those are noise of its binary form; of money they are somebody's.
    exact_matters = isinstance(value, Decimal) or "." not in text
    return _quoted(f"'{text}") if len(digits) > _EXACT_DIGITS and exact_matters else text


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
