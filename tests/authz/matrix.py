"""Reads `matrix.txt`: for each route, what each person may do with what is theirs and with what is not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_FILE = Path(__file__).with_name("matrix.txt")
_ELSEWHERE = ("agent", "operations")
"""Applications that have an address of their own; a line of theirs begins with their name."""


class Verdict(StrEnum):
    MAY = "Y"
    HIDDEN = "-"
    NOT_IN_ROLE = "x"
    WHO_ARE_YOU = "n"


class Whose(StrEnum):
    """To whom the subject of a request belongs, as the one who asks sees it."""

    OWN = "own"
    COLLEAGUES = "a colleague's"
    STRANGERS = "a stranger's"


@dataclass(frozen=True)
class Line:
    """One route. `cells` holds one verdict for each column, or three in the order of `Whose`."""

    call: str
    subject: str
    cells: dict[str, tuple[Verdict, ...]]

    @property
    def application(self) -> str:
        """`portal`, `agent` or `operations`."""
        first = self.call.split(" ")[0]
        return first if first in _ELSEWHERE else "portal"

    @property
    def method(self) -> str:
        return self.call.split(" ")[-2]

    @property
    def path(self) -> str:
        return self.call.split(" ")[-1]

    @property
    def has_owner(self) -> bool:
        """Whether its subject belongs to a user."""
        return self.subject in {
            "account",
            "backtest",
            "bot",
            "consent",
            "copier",
            "invitation",
            "key",
            "member",
            "passkey",
            "service",
            "session",
            "strategy",
            "test",
            "threshold",
            "webhook",
        }

    def verdict(self, column: str, whose: Whose) -> Verdict:
        cells = self.cells[column]
        return cells[list(Whose).index(whose)] if self.has_owner else cells[0]


def read() -> list[Line]:
    """Raises ValueError for a file that is not whole."""
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in _FILE.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    columns = rows[0][2:]
    return [_line(row, columns) for row in rows[1:]]


def _line(row: list[str], columns: list[str]) -> Line:
    cells = {
        name: tuple(Verdict(letter) for letter in cell.split(" ")) for name, cell in zip(columns, row[2:], strict=True)
    }
    line = Line(row[0], row[1], cells)
    if {len(each) for each in cells.values()} != {3 if line.has_owner else 1}:
        raise ValueError(f"{line.call}: every cell needs {'three letters' if line.has_owner else 'one letter'}")
    return line
