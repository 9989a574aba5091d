"""CSV that no spreadsheet can be tricked by, read back through Python's own reader."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.trading.export import BYTE_ORDER_MARK, Separator, cell, csv_rows, safe_text

SIGNS = {Separator.COMMA: ",", Separator.SEMICOLON: ";", Separator.TAB: "\t"}
NASTY = [
    "=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\u200b=1", "\ufeff=1", "\uff1d1+1",
    "\uff20x",
    "=cmd|' /C calc'!A0", "'=1", "|x", "%0A=1", '"=1', ';=1', ",=1", "'", "x\u2028=1", "x\x00y", "a\nb",
    '=HYPERLINK("x")',
]  # fmt: skip
texts = st.text(max_size=40) | st.sampled_from(NASTY)


def read(pieces: list[str], separator: Separator) -> list[list[str]]:
    text = "".join(pieces).removeprefix(BYTE_ORDER_MARK)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=SIGNS[separator], strict=True))


@pytest.mark.parametrize("text", NASTY)
def test_no_text_begins_as_a_formula(text: str) -> None:
    shown = safe_text(text)
    stripped = shown.lstrip(" \u00a0\u200b\ufeff")
    assert stripped[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20|%\t\r\n")


@given(st.lists(st.tuples(texts, texts, texts), max_size=8), st.sampled_from(Separator))
@example([("a,b;c\td", 'say "hi"', "a\r\nb")], Separator.COMMA)
def test_every_row_comes_back_with_its_cells(rows: list[tuple[str, str, str]], separator: Separator) -> None:
    pieces = list(csv_rows(("one", "two", "three"), rows, separator))
    assert read(pieces, separator) == [["one", "two", "three"], *[[safe_text(each) for each in row] for row in rows]]
    assert len(pieces) == len(rows) + 1
    assert all(piece.count("\n") == 1 for piece in pieces), "no row falls apart, whoever reads it line by line"
    "".join(pieces).encode("utf-8")


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=40))
def test_the_text_itself_is_not_lost(text: str) -> None:
    shown = safe_text(text)
    assert shown == text or shown == f"'{text}"


@given(st.integers(-(2**63), 2**63))
def test_no_ticket_loses_digits(number: int) -> None:
    shown = next(csv.reader([cell(number)]))[0]
    assert int(shown.removeprefix("'")) == number
    assert shown.startswith("'") == (abs(number) >= 10**15)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**10), max_value=10**10))
def test_money_is_a_plain_number(amount: Decimal) -> None:
    shown = cell(amount)
    assert Decimal(shown.strip("\"'")) == amount
    assert "E" not in shown


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_prices_are_never_in_powers_of_ten(price: float) -> None:
    shown = cell(price)
    assert float(shown.strip("\"'")) == price
    assert "e" not in shown.lower()


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        cell(float("nan"))
    assert cell(None) == ""
    assert cell(-1.5) == "-1.5"
