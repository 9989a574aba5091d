"""Evaluates expressions about the official package and says what came out, so that two packages can be compared.

As a program it runs in the Windows Python with the real package: pairs of an expression and an earlier call come as a
JSON list on standard input, the outcomes go to standard output, one JSON object a line.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import fractions
import importlib
import json
import math
import operator
import pickle
import sys
from typing import Any

import numpy as np

NAMES = {
    "copy": copy,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "timedelta": datetime.timedelta,
    "timezone": datetime.timezone,
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "math": math,
    "operator": operator,
    "pickle": pickle,
    "np": np,
}

Outcome = dict[str, Any]


def outcome(package: Any, expression: str, earlier: str) -> Outcome:
    """What an expression over `mt5` gives or raises, and what last_error() says after it.

    `earlier` is evaluated first and must leave an error that the expression itself cannot have, so that a call which
    leaves last_error() alone can be told from one which sets it.
    """
    eval(earlier, {"mt5": package})
    before = _last_error(package)
    try:
        value = eval(expression, {"mt5": package, **NAMES})
    except Exception as error:  # noqa: BLE001 - any of them is the outcome
        result: Outcome = {"raises": described(error), "because": described(error.__cause__)}
    else:
        result = {"gives": f"{type(value).__name__} {value!r}"}
    after = _last_error(package)
    return result | {"last_error": "as it was" if after == before else after}


def _last_error(package: Any) -> str:
    try:
        return repr(package.last_error())
    except UnicodeDecodeError as error:
        return described(error)


def described(error: BaseException | None) -> str:
    """Class and text of an exception."""
    return "" if error is None else f"{type(error).__name__}: {error}"


def main() -> int:
    """Entry point."""
    package = importlib.import_module("MetaTrader5")
    questions = json.loads(sys.stdin.buffer.read())
    for question in questions:
        sys.stdout.write(json.dumps(outcome(package, *question)) + "\n")
        sys.stdout.flush()  # the next one may crash
    return 0


if __name__ == "__main__":
    sys.exit(main())
