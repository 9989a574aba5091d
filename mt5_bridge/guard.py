"""The guard as data: what may be traded on an account, whoever asks. `guard_rules` decides by it.

Volumes are lots, amounts are in the account currency, times of day are minutes since midnight of the broker.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, TypeVar

from mt5_bridge.bot_rules import BotRule, parse_bot_rules

DAY_MINUTES: Final = 1440
_ID: Final = re.compile(r"[0-9A-Za-z_-]{0,60}")


class Kill(StrEnum):
    """The switch that a person has thrown."""

    NONE = "none"
    NO_NEW_ORDERS = "no_new_orders"
    """Nothing is opened, and orders that wait are removed, since each of them would open something."""
    CLOSE_ALL = "close_all"
    """The same, and everything that is open is closed."""


class OnBreach(StrEnum):
    """What happens when a loss limit is hit."""

    STOP_OPENING = "stop_opening"
    CLOSE_ALL = "close_all"


class DayBase(StrEnum):
    """What a day's loss is counted from: the account as it was at the beginning of the day."""

    BALANCE = "balance"
    EQUITY = "equity"
    HIGHER = "higher"


@dataclass(frozen=True)
class Amount:
    """So much money, or so many percent of what it is measured against."""

    value: float
    percent: bool = False

    def of(self, reference: float) -> float:
        return reference * self.value / 100 if self.percent else self.value


@dataclass(frozen=True)
class Window:
    """Part of a weekday in which positions may be opened: from `start` to before `end`. Monday is 0."""

    day: int
    start: int
    end: int


@dataclass(frozen=True)
class Pause:
    """Nothing is opened from `start` to before `end`, UTC seconds since 1970; of these symbols and currencies, or of
    any when both are empty.
    """

    start: int
    end: int
    symbols: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Guard:
    """Limits of one account. None means no limit."""

    symbols: frozenset[str] | None = None
    max_symbols: int | None = None
    """Different symbols with open positions or waiting orders."""
    max_volume: float | None = None
    """In one request."""
    max_open_volume: float | None = None
    """Of all open positions and waiting orders together."""
    max_positions: int | None = None
    """A waiting order counts as the position that it may become."""
    max_orders: int | None = None
    """Waiting orders."""
    orders_per_minute: int | None = None
    daily_loss: Amount | None = None
    """Percent of the day's base."""
    day_base: DayBase = DayBase.HIGHER
    drawdown: Amount | None = None
    """Percent of what it is measured against: the start, or the highest equity when it trails."""
    drawdown_trails: bool = False
    drawdown_start: float | None = None
    """None: the equity that was seen first."""
    equity_floor: float | None = None
    hours: tuple[Window, ...] | None = None
    pauses: tuple[Pause, ...] = ()
    on_breach: OnBreach = OnBreach.STOP_OPENING
    day_reset: int = 0
    """When a trading day begins."""
    utc_offsets: tuple[tuple[int, int], ...] = ()
    """The broker's time zone: from which UTC second on its clocks are ahead by how many seconds. Empty: UTC."""
    trading: bool = True
    kill: Kill = Kill.NONE
    kill_id: str = ""
    rearm_id: str = ""
    """Each new one clears, once, what has tripped."""
    bots: Mapping[str, BotRule] | None = None
    """Of the terminal's bots by their ids, beside all limits; None where bots are not told apart."""

    @cached_property
    def free(self) -> bool:
        """Whether no limit is set, so that nothing has to be looked at."""
        return all(getattr(self, name) == value for name, value in _NO_LIMIT.items())

    @cached_property
    def watches_equity(self) -> bool:
        return not (self.daily_loss is None and self.drawdown is None and self.equity_floor is None)

    @cached_property
    def counts_exposure(self) -> bool:
        counted = self.max_symbols, self.max_open_volume, self.max_positions, self.max_orders
        return any(each is not None for each in counted)

    @cached_property
    def asks_currencies(self) -> bool:
        return any(pause.currencies for pause in self.pauses)

    def broker_time(self, now: float) -> float:
        """The broker's wall clock, seconds since 1970."""
        at = bisect_right(self.utc_offsets, now, key=lambda each: each[0])
        return now + (self.utc_offsets[max(0, at - 1)][1] if self.utc_offsets else 0)

    def trading_day(self, now: float) -> int:
        """Number of the trading day."""
        return math.floor((self.broker_time(now) - self.day_reset * 60) / 86_400)


_NO_LIMIT: Final = {
    field.name: field.default
    for field in fields(Guard)
    if field.name not in {"kill_id", "rearm_id", "day_base", "day_reset", "utc_offsets", "on_breach", "bots"}
}  # fmt: skip
T = TypeVar("T")


def parse_guard(data: object) -> Guard:
    """Read a guard from configuration; fields that are unknown are ignored. Raises ValueError."""
    if not isinstance(data, Mapping):
        raise ValueError("guard must be an object")  # noqa: TRY004 - one error for bad configuration
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        if name not in data:
            continue
        try:
            values[name] = read(data[name])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"guard.{name} cannot be used: {error}") from error
    return Guard(**values)


def _optional(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else read(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")  # noqa: TRY004 - one error for bad configuration
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not value > 0:
        raise ValueError("it must be a number above 0")
    return float(value)


def _count(value: Any) -> int:
    return _whole(value, 0, 1_000_000)


def _whole(value: Any, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError(f"it must be a whole number from {lowest} to {highest}")
    return value


def _texts(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("it must be a list of texts")
    return frozenset(value)


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("it must be an id")
    return value


def _amount(value: Any) -> Amount:
    return Amount(_number(value["value"]), _flag(value.get("percent", False)))


def _window(value: Any) -> Window:
    start, end = _whole(value["start"], 0, DAY_MINUTES - 1), _whole(value["end"], 1, DAY_MINUTES)
    if not start < end:
        raise ValueError("a window must end after it starts")
    return Window(_whole(value["day"], 0, 6), start, end)


def _pause(value: Any) -> Pause:
    symbols, currencies = _texts(value.get("symbols", [])), _texts(value.get("currencies", []))
    return Pause(_whole(value["start"], 0, 2**40), _whole(value["end"], 0, 2**40), symbols, currencies)


def _offsets(value: Any) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((_whole(since, -(2**40), 2**40), _whole(offset, -90_000, 90_000)) for since, offset in value))


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "symbols": _optional(_texts),
    "max_symbols": _optional(_count),
    "max_volume": _optional(_number),
    "max_open_volume": _optional(_number),
    "max_positions": _optional(_count),
    "max_orders": _optional(_count),
    "orders_per_minute": _optional(_count),
    "daily_loss": _optional(_amount),
    "day_base": DayBase,
    "drawdown": _optional(_amount),
    "drawdown_trails": _flag,
    "drawdown_start": _optional(_number),
    "equity_floor": _optional(_number),
    "hours": _optional(lambda value: tuple(_window(each) for each in value)),
    "pauses": lambda value: tuple(_pause(each) for each in value),
    "on_breach": OnBreach,
    "day_reset": lambda value: _whole(value, 0, DAY_MINUTES - 1),
    "utc_offsets": _offsets,
    "trading": _flag,
    "kill": Kill,
    "kill_id": _id,
    "rearm_id": _id,
    "bots": parse_bot_rules,
}
