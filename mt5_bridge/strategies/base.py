"""The contract between a strategy and what runs it: a bot on a terminal, live or on paper, or a backtest.

A strategy sees the market through a `Context` and notes in it what it wants; it never talks to a terminal. What it
noted is carried out when the method returns, in the order of noting. So the same file runs everywhere, and a decision
can be tested without any terminal. This module needs numpy alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt


class ParameterError(ValueError):
    """A parameter that the strategy cannot work with. The message is safe to show."""


class UnableError(Exception):
    """The strategy can never work here, for example without an extra. The message is safe to show."""


class AwayError(Exception):
    """The terminal gave no answer; try again when it is back."""


@dataclass(frozen=True)
class Parameter:
    """One setting that a user may change; the portal builds its form from this."""

    name: str
    title: str
    help: str
    type: type[int] | type[float] | type[bool]
    default: float
    minimum: float | None = None
    maximum: float | None = None

    def read(self, value: Any) -> Any:
        """The value in the parameter's type. Raises ParameterError."""
        if self.type is bool:
            if not isinstance(value, bool):
                raise ParameterError(f"{self.title} must be yes or no")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ParameterError(f"{self.title} must be a number")
        if self.type is int and value != int(value):
            raise ParameterError(f"{self.title} must be a whole number")
        if self.minimum is not None and value < self.minimum:
            raise ParameterError(f"{self.title} must be at least {self.minimum:g}")
        if self.maximum is not None and value > self.maximum:
            raise ParameterError(f"{self.title} must be at most {self.maximum:g}")
        return self.type(value)


STOPS = (
    Parameter("stop_loss_points", "Stop loss", "Points from the opening price; 0 for none.", int, 0, 0, 1_000_000),
    Parameter("take_profit_points", "Take profit", "Points from the opening price; 0 for none.", int, 0, 0, 1_000_000),
)
"""Settings of strategies that set their stops by `Strategy.hold`."""


class Side(Enum):
    """What a bot holds, or should hold. The value is MT5's order type that opens it."""

    LONG = 0
    SHORT = 1

    @property
    def sign(self) -> int:
        """1 when rising prices bring profit, else -1."""
        return 1 if self is Side.LONG else -1


@dataclass(frozen=True)
class Target:
    """What to hold from now on: a side, or nothing. Distances are points from the opening price; 0 is none."""

    side: Side | None
    stop_loss_points: int = 0
    take_profit_points: int = 0


@dataclass(frozen=True)
class Open:
    """Open a position at the market, beside those that are held. Volume is lots; levels are prices, 0 for none."""

    side: Side
    volume: float
    stop_loss: float = 0.0
    take_profit: float = 0.0


@dataclass(frozen=True)
class Close:
    """Close one position of the bot whole."""

    ticket: int


@dataclass(frozen=True)
class Modify:
    """Set both levels (prices, 0 for none) of one position of the bot."""

    ticket: int
    stop_loss: float
    take_profit: float


Wish = Target | Open | Close | Modify


class Terminal(Protocol):
    """What a context reads: functions of the official API, which give None when the terminal does not answer."""

    def account_info(self) -> Any: ...
    def symbol_info(self, symbol: str, /) -> Any: ...
    def symbol_info_tick(self, symbol: str, /) -> Any: ...
    def positions_get(self, *, symbol: str) -> Any: ...
    def copy_rates_from_pos(self, symbol: str, timeframe: int, start_pos: int, count: int, /) -> Any: ...
    def last_error(self) -> tuple[int, str]: ...


def _nothing_said(_: str) -> None:
    """For contexts whose log nobody reads."""


class Context:
    """A strategy's view of its symbol and account, and its notes of what is to be done.

    Prices are the symbol's, volumes lots, distances prices unless they are named points; all times are the broker's
    clock. Reading raises AwayError when the terminal does not answer; the method is then called again later.
    """

    def __init__(
        self,
        symbol: str,
        timeframe: int,
        volume: float,
        magic: int,
        terminal: Terminal | None = None,
        log: Callable[[str], None] = _nothing_said,
    ) -> None:
        self.symbol = symbol
        self.timeframe = timeframe
        self.volume = volume
        """Lots of a position that is opened without naming a volume."""
        self.magic = magic
        self.log = log
        """Tell the user something."""
        self.state: dict[str, Any] = {}
        """Small plain JSON values that outlive restarts of the bot; there before `on_start`."""
        self.wishes: list[Wish] = []
        self.terminal = terminal
        self._info: Any = None

    @property
    def info(self) -> Any:
        """SymbolInfo as it was when first asked for: point, digits, volume_step and other things that stay."""
        if self._info is None:
            self._info = self._read("symbol_info", self.symbol)
        return self._info

    @property
    def point(self) -> float:
        """Smallest price difference that the symbol's digits can show."""
        return float(self.info.point)

    def tick(self) -> Any:
        """The newest Tick."""
        return self._read("symbol_info_tick", self.symbol)

    def bars(self, count: int) -> npt.NDArray[Any]:
        """Up to `count` newest closed bars, oldest first, with the dtype of copy_rates."""
        bars: npt.NDArray[Any] = self._read("copy_rates_from_pos", self.symbol, self.timeframe, 1, count)
        return bars

    def account(self) -> Any:
        """AccountInfo of this moment."""
        return self._read("account_info")

    def positions(self) -> tuple[Any, ...]:
        """The bot's own open positions (TradePosition): its symbol, its magic number."""
        found = self._read("positions_get", symbol=self.symbol)
        return tuple(position for position in found if position.magic == self.magic)

    @property
    def held(self) -> Side | None:
        """The side of the bot's oldest position, None when it has none."""
        held = self.positions()
        return Side(held[0].type) if held else None

    def target(self, side: Side | None, stop_loss_points: int = 0, take_profit_points: int = 0) -> None:
        """Hold one position on this side from now on, or none: what does not fit is closed, what is missing opened."""
        self.wishes.append(Target(side, stop_loss_points, take_profit_points))

    def buy(self, volume: float = 0.0, *, stop_loss: float = 0.0, take_profit: float = 0.0) -> None:
        """Open a long position. Volume 0 is the bot's; levels are prices, 0 for none."""
        self.wishes.append(Open(Side.LONG, volume or self.volume, stop_loss, take_profit))

    def sell(self, volume: float = 0.0, *, stop_loss: float = 0.0, take_profit: float = 0.0) -> None:
        """Open a short position, see `buy`."""
        self.wishes.append(Open(Side.SHORT, volume or self.volume, stop_loss, take_profit))

    def close(self, position: Any) -> None:
        """Close a position of `positions`."""
        self.wishes.append(Close(position.ticket))

    def modify(self, position: Any, *, stop_loss: float | None = None, take_profit: float | None = None) -> None:
        """Set levels of a position of `positions`: None leaves one as it is, 0 takes it away."""
        digits = self.info.digits
        level = round(position.sl if stop_loss is None else stop_loss, digits)
        goal = round(position.tp if take_profit is None else take_profit, digits)
        if (level, goal) != (position.sl, position.tp):
            self.wishes.append(Modify(position.ticket, level, goal))

    def trail(self, distance: float, step: float = 0.0) -> None:
        """Draw the stop losses of all own positions up to `distance` behind the price.

        They never move back, and only when they gain at least `step` (a point at least).
        """
        tick = self.tick()
        for position in self.positions():
            side = Side(position.type)
            price = tick.bid if side is Side.LONG else tick.ask
            level = round(price - side.sign * distance, self.info.digits)
            if not position.sl or side.sign * (level - position.sl) >= max(step, self.point / 2):
                self.modify(position, stop_loss=level)

    def points(self, distance: float) -> int:
        """A distance in price as whole points, at least 1."""
        return max(1, round(distance / self.point))

    def _read(self, function: str, *args: Any, **kwargs: Any) -> Any:
        if self.terminal is None:
            raise AwayError("there is no terminal")
        value = getattr(self.terminal, function)(*args, **kwargs)
        if value is None:
            raise AwayError(self.terminal.last_error()[1])
        return value


class Strategy(ABC):
    """A strategy decides; it never trades. One object serves one bot and sees its market in order.

    The market moves in moments: all ticks of one millisecond are one, and a bot that looked away for some time sees
    them as one, too. In each moment come first the bot's own new deals, then the bar that has closed, then the tick.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Read the parameters; absent ones have their defaults. Raises ParameterError."""
        unknown = set(values) - {parameter.name for parameter in self.parameters}
        if unknown:
            raise ParameterError(f"{self.title} has no parameter {min(unknown)!r}")
        self.settings: dict[str, Any] = {
            parameter.name: parameter.read(values.get(parameter.name, parameter.default))
            for parameter in self.parameters
        }

    @property
    @abstractmethod
    def bars_needed(self) -> int:
        """Closed bars that `on_bar` needs to decide: it gets exactly so many, however long the market has run."""

    def hold(self, context: Context, side: Side | None) -> None:
        """Note a target with the strategy's own settings `STOPS`, where it has them."""
        context.target(side, self.settings.get("stop_loss_points", 0), self.settings.get("take_profit_points", 0))

    def on_start(self, context: Context) -> None:  # noqa: B027 - may be left out
        """The terminal is there and the first moment about to come. Nothing noted here is carried out."""

    @abstractmethod
    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        """A bar has closed: the first tick of a later one is there. `bars` has the dtype of copy_rates."""

    def may_act(self, bars: npt.NDArray[Any], held: Side | None) -> npt.NDArray[np.bool_] | None:
        """For each of these bars, whether `on_bar` could note anything at its close while `held` is held.

        For the speed of backtests alone, and for strategies whose `on_bar` neither keeps a state nor logs: where the
        answer is no, `on_bar` is not called. True wherever it is in doubt; None when nothing is known.
        """
        del bars, held
        return None

    def on_tick(self, context: Context, tick: Any) -> None:  # noqa: B027 - may be left out
        """The price has moved; `tick` is the newest Tick."""

    def on_trade(self, context: Context, deal: Any) -> None:  # noqa: B027 - may be left out
        """One of the bot's own deals (TradeDeal) is in the books: once for each, in the moment after it."""

    def on_stop(self, context: Context) -> None:  # noqa: B027 - may be left out
        """The bot ends; positions stay as they are. Nothing noted here is carried out."""


def overrides(strategy: Strategy, method: str) -> bool:
    """Whether a strategy has its own version of a method that may be left out."""
    return getattr(type(strategy), method) is not getattr(Strategy, method)
