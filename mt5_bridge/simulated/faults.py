"""Faults on demand: what a broker, a terminal or the line between them can do wrong, when a rule says so.

A rule names one fault and what it meets: an account, a function, a symbol. `after` lets so many matching requests pass
first, `times` ends it, `chance` draws for each match from the rule's own seed, so that a run can be repeated.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from mt5_bridge.simulated.engine.retcodes import Retcode

FAULT_TAG = "!fault"
"""First item of an answer that the terminal does not pass on as it is: (tag, kind, seconds, value)."""
ORDER_SEND = "order_send"


class FaultKind(StrEnum):
    """The faults."""

    REQUOTE = "requote"
    """10004 with the prices of the moment."""
    REJECT = "reject"
    """The rule's `retcode` (10006 unless given), nothing done."""
    PARTIAL = "partial"
    """Only `fraction` of the volume can be filled."""
    SLOW = "slow"
    """The answer comes `seconds` late."""
    LOST_ANSWER = "lost_answer"
    """The request is carried out, and the program's link to its terminal breaks instead of an answer."""
    LOST_LINK = "lost_link"
    """The request is carried out, and the terminal's link to the broker breaks instead of an answer."""
    DISCONNECT = "disconnect"
    """The terminal's link breaks before the request is looked at; no new one for `seconds`."""
    WEDGED = "wedged"
    """The terminal does not come back from the call for `seconds`."""
    WRONG_ACCOUNT = "wrong_account"
    """Reads are answered from the books of the account `other`."""
    DOUBLE_LOGIN = "double_login"
    """Somebody logs in to the account elsewhere: the terminal is thrown out once for each match."""


ON_TRADES = frozenset({FaultKind.REQUOTE, FaultKind.REJECT, FaultKind.PARTIAL})
INJECTED_ONLY = frozenset(
    {
        Retcode.CANCEL,
        Retcode.ERROR,
        Retcode.TIMEOUT,
        Retcode.PRICE_CHANGED,
        Retcode.ORDER_CHANGED,
        Retcode.TOO_MANY_REQUESTS,
        Retcode.LOCKED,
    }
)
"""Return codes that nothing in the engine brings about (rules L2, L9, L11)."""


class FaultError(ValueError):
    """A rule that makes no sense; the text says why."""


@dataclass(frozen=True)
class FaultRule:
    """When a fault happens. What is left empty or 0 matches everything."""

    kind: FaultKind
    login: int = 0
    function: str = ""
    """`order_send` or a read function; empty: `order_send` for faults of trades, anything for the others."""
    symbol: str = ""
    action: int = 0
    after: int = 0
    times: int = 1
    """How often it happens; 0 for ever."""
    chance: float = 1.0
    seed: int = 0
    retcode: int = int(Retcode.REJECT)
    fraction: float = 0.5
    seconds: float = 1.0
    other: int = 0

    @classmethod
    def of(cls, data: dict[str, Any]) -> FaultRule:
        """A rule from plain values. Raises FaultError."""
        unknown = set(data) - {one.name for one in fields(cls)}
        try:
            if unknown:
                raise FaultError(f"a fault has no {', '.join(sorted(unknown))}")
            rule = cls(**{**data, "kind": FaultKind(data.get("kind", ""))})
            Retcode(rule.retcode)
        except (ValueError, TypeError) as error:
            raise error if isinstance(error, FaultError) else FaultError(str(error)) from error
        if not 0.0 <= rule.chance <= 1.0 or not 0.0 <= rule.fraction < 1.0 or rule.seconds < 0:
            raise FaultError("chance is 0..1, fraction 0 up to 1, seconds not negative")
        return rule

    def meets(self, login: int, function: str, request: dict[str, Any]) -> bool:
        """Whether the rule is about this request; `request` holds a trade request's fields."""
        wanted = self.function or (ORDER_SEND if self.kind in ON_TRADES else "")
        return (
            self.login in (0, login)
            and wanted in ("", function)
            and self.symbol in ("", request.get("symbol", ""))
            and self.action in (0, request.get("action", 0))
        )


class _Armed:
    """A rule at work."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.seen = 0
        self.happened = 0
        self._random = random.Random(rule.seed)  # noqa: S311 - repeatable, not secret

    def strikes(self) -> bool:
        """Count one match and say whether the fault happens."""
        if self.is_over:
            return False
        self.seen += 1
        if self.seen <= self.rule.after or self._random.random() >= self.rule.chance:
            return False
        self.happened += 1
        return True

    @property
    def is_over(self) -> bool:
        return bool(self.rule.times) and self.happened >= self.rule.times


class FaultPlan:
    """The rules in force, by number."""

    def __init__(self) -> None:
        self._armed: dict[int, _Armed] = {}
        self._number = 0

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force; returns its number."""
        self._number += 1
        self._armed[self._number] = _Armed(rule)
        return self._number

    @property
    def is_armed(self) -> bool:
        """Whether a fault may still happen."""
        return any(not one.is_over for one in self._armed.values())

    def clear(self, number: int = 0) -> int:
        """End one rule, or all of them for 0; returns how many."""
        ended = [one for one in self._armed if number in (0, one)]
        for one in ended:
            del self._armed[one]
        return len(ended)

    def strike(self, login: int, function: str, request: dict[str, Any]) -> dict[FaultKind, FaultRule]:
        """The faults that happen to a request now, one of each kind at most."""
        if not self._armed:
            return {}
        met: dict[FaultKind, FaultRule] = {}
        for armed in self._armed.values():
            rule = armed.rule
            if rule.kind not in met and rule.meets(login, function, request) and armed.strikes():
                met[rule.kind] = rule
        return met

    def status(self) -> tuple[tuple[int, str, int, int], ...]:
        """(number, kind, matches seen, times happened) of each rule."""
        return tuple((number, str(one.rule.kind), one.seen, one.happened) for number, one in self._armed.items())
