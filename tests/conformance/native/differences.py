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


_UNLINKED = r"^\(-10004, "
_SYSTEM_ERROR = r"^raises SystemError: <built-in function \w+> returned a result with an exception set$"
_STRUCT = r"^mt5\.(AccountInfo|TerminalInfo|SymbolInfo|Tick|BookInfo|Trade\w+|Order\w+Result)\W"
_NO_LOCAL_TIME = "the C library of Windows has no local time before 1970 and after 3000"
_EARLY_OR_LATE = r"datetime\((1969|3001), 1, 1\)"

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
    Difference(_NO_LOCAL_TIME, "answer", _SYSTEM_ERROR, "^gives NoneType None$", _EARLY_OR_LATE),
    Difference(_NO_LOCAL_TIME, "last_error", r"^\(-2, 'Invalid arguments'\)$", _UNLINKED, _EARLY_OR_LATE),
    Difference(_NO_LOCAL_TIME, "because", "^OSError", "^OverflowError", _EARLY_OR_LATE),
    Difference(
        "Python tells of an overdue exception in whatever it is noticed, and of that in the function",
        "because", "^SystemError: <built-in method", "^OverflowError", r"datetime\(",
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
