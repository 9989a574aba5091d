"""What the simulated backend answers otherwise than the official package, found by asking both the same things.

The list is strict in both directions: a difference that no entry explains fails the suite, and so does an entry that
explains nothing any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

Outcome = dict[str, str]

ASPECTS: Final = ("answer", "because", "last_error")


@dataclass(frozen=True)
class Difference:
    """One cause of differences: which aspect, and what both sides say (regular expressions)."""

    reason: str
    aspect: str
    official: str
    simulated: str
    expression: str = ""

    def explains(self, expression: str, aspect: str, official: str, simulated: str) -> bool:
        """Whether this is why the two differ in one aspect of an expression."""
        return (
            aspect == self.aspect
            and re.search(self.expression, expression) is not None
            and re.search(self.official, official) is not None
            and re.search(self.simulated, simulated) is not None
        )


def aspects(official: Outcome, ours: Outcome) -> list[tuple[str, str, str]]:
    """Aspects in which two outcomes differ, with what each says."""
    pairs = [("answer", _answer(official), _answer(ours)), ("last_error", *_each("last_error", official, ours))]
    if pairs[0][1] == pairs[0][2]:  # else another cause, or none, goes without saying
        pairs.append(("because", *_each("because", official, ours)))
    return [(aspect, theirs, mine) for aspect, theirs, mine in pairs if theirs != mine]


def _answer(outcome: Outcome) -> str:
    return next(f"{kind} {outcome[kind]}" for kind in ("gives", "raises", "crashes") if kind in outcome)


def _each(key: str, official: Outcome, ours: Outcome) -> tuple[str, str]:
    return official.get(key, ""), ours.get(key, "")


_SUCCESS = r"^\(1, 'Success'\)$"
_UNLINKED = r"^\(-10004, "
_SYSTEM_ERROR = r"^raises SystemError: <built-in function \w+> returned a result with an exception set$"
_ANY_SIZE = "a date that is a float or a datetime may have any size (also nan and inf)"
_STRUCT = r"^mt5\.(AccountInfo|TerminalInfo|SymbolInfo|Tick|BookInfo|Trade\w+|Order\w+Result)\W"

TO_MEND: Final = (
    Difference("a SystemError of an argument leaves -2 and names it", "last_error", r"^\(-2, 'Invalid ", _SUCCESS),
    Difference(
        "29 is the limit in UTF-16 units, of which letters beyond U+FFFF take two",
        "last_error", r"^\(-2, ", _UNLINKED + "|" + _SUCCESS, "\U0001f600",
    ),
    Difference(
        "market_book_add and market_book_release give None for a wrong argument, also for a long symbol",
        "answer", "^gives NoneType None$", "^gives bool False$", "market_book_(add|release)",
    ),
    Difference(
        _ANY_SIZE, "answer", "^gives NoneType None$", _SYSTEM_ERROR, r"(1e10|1e300|math\.\w+|datetime\((2038|1900))",
    ),
    Difference(_ANY_SIZE, "last_error", _UNLINKED, r"^\(-2, ", r"math\."),
    Difference("a C int does not exist for it: it says long", "because", "to C long$", "to C int$"),
    Difference(
        "64-bit numbers that do not fit have other words than 32-bit ones",
        "because", "^OverflowError: int too big to convert$", "too large to convert to C (unsigned )?long$",
    ),
    Difference(
        "a negative number for 32 unsigned bits is a negative value",
        "because", "can't convert negative value to unsigned int$", "can't convert negative int to unsigned$",
    ),
    Difference(
        "C types have their module before their name", "because", r"^TypeError: must be real number, not \w+\.\w+$",
        r"^TypeError: must be real number, not \w+$",
    ),
    Difference(
        "order_check and order_send count their arguments first", "last_error",
        r"^\(-2, 'Invalid number of arguments'\)$", "", r"order_(check|send)\(({}, {})?\)$",
    ),
    Difference(
        "initialize has no text for a path that the code page does not know",
        "last_error", r"'IPC initialize failed, '\)$", "Process create failed", r"'(\u20bf|\U0001f600|\\ud800)",
    ),
)  # fmt: skip
"""To be brought into line in arguments.py or the simulated backend, each with its last difference."""

LEFT: Final = (
    Difference(
        "last_error() of the package fails on its own text when the path has letters beyond ASCII; ours does not",
        "last_error", "^UnicodeDecodeError", "Process create failed", "initialize",
    ),
    Difference(
        "the Windows Python has numpy 1, whose booleans are integers of a kind",
        "answer", "^gives NoneType None$", _SYSTEM_ERROR, r"np\.bool_",
    ),
    Difference(
        "the Windows Python has numpy 1, whose booleans are integers of a kind",
        "last_error", _UNLINKED, r"^\(-2, ", r"np\.bool_",
    ),
    Difference(
        "numpy 2 calls its boolean by another name",
        "because", r"numpy\.bool_$", r"numpy\.bool$", r"np\.bool_",
    ),
    Difference("Buy and Sell are methods here", "answer", "takes from 2 to 3", "takes from 3 to 4", "Buy|Sell"),
    Difference(
        "the interpreter counts the arguments of a constructor in C with other words",
        "answer", r"^raises TypeError: structseq\(\) ", r"^raises TypeError: Struct\.__new__\(\) ", _STRUCT,
    ),
    Difference("our structs have a common base", "answer", "builtins", "mt5_bridge.structs.Struct", r"__mro__$"),
    Difference("the doc texts of the structs are MetaQuotes'", "answer", "^gives str ", "^gives NoneType", r"__doc__$"),
)  # fmt: skip
"""Differences that stay, with the reason."""

KNOWN: Final = TO_MEND + LEFT
