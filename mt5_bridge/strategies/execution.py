"""Carries out what a strategy wants, exactly once, whatever happens to the link in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from mt5_bridge.client import BridgeError
from mt5_bridge.contract import CONSTANTS, RETCODES
from mt5_bridge.strategies.base import AwayError, Close, Modify, Open, Side, Target, Terminal, Wish

_DONE: Final = frozenset(CONSTANTS[f"TRADE_RETCODE_{name}"] for name in ("PLACED", "DONE", "DONE_PARTIAL"))
_UNCERTAIN: Final = frozenset(CONSTANTS[f"TRADE_RETCODE_{name}"] for name in ("ERROR", "TIMEOUT", "CONNECTION"))
_SETTLED: Final = frozenset({"done", "refused", "not_executed"})
_DEAL, _SLTP, _GTC = (CONSTANTS[name] for name in ("TRADE_ACTION_DEAL", "TRADE_ACTION_SLTP", "ORDER_TIME_GTC"))
_OPPOSITE: Final = {side.value: Side(1 - side.value) for side in Side}
_FOK_FLAG, _IOC_FLAG = 1, 2
_DEVIATION_POINTS: Final = 20
_POLL_SECONDS: Final = 0.1
_VISIBLE_SECONDS: Final = 2.0
_FORMER_SECONDS: Final = 60.0
_MAX_COMMENT: Final = 29


class StoppedError(Exception):
    """The bot was asked to stop while it waited."""


class TradingTerminal(Terminal, Protocol):
    """A terminal that carries an order out at most once for each id: a bridge worker, or a backtest's own."""

    def describe(self) -> Any: ...
    def outcome(self, client_order_id: str, /) -> Any: ...
    def give_up(self, client_order_id: str, /) -> Any: ...
    def send_once(self, client_order_id: str, request: dict[str, Any], /) -> Any: ...


class Held(NamedTuple):
    """What carrying out needs to know of a position."""

    ticket: int
    type: int
    volume: float


class Orders(Protocol):
    """Whose orders they are: `volume` is lots, `revision` tells runs with other settings apart."""

    @property
    def bot_id(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def symbol(self) -> str: ...
    @property
    def volume(self) -> float: ...
    @property
    def magic(self) -> int: ...


class Report(Protocol):
    """Where a user reads what was done."""

    def info(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...


class ShortReport(Report, Protocol):
    """A report that keeps so much and no more."""

    @property
    def is_full(self) -> bool: ...


class Execution:
    """The trading side of one bot. It outlives connections: an order under way is followed on the next one.

    Every order has an id made of the bot, the occasion and the step, so that doing the same step again sends nothing.
    """

    def __init__(self, config: Orders, report: Report, stop: threading.Event) -> None:
        self._config = config
        self._report = report
        self._stop = stop
        self._pending: str | None = None
        self._is_first = True
        self._never_came: str | None = None

    def positions(self, api: TradingTerminal) -> tuple[Any, ...]:
        """The bot's own open positions: its symbol, its magic number. Raises AwayError."""
        positions = api.positions_get(symbol=self._config.symbol)
        if positions is None:
            raise AwayError(api.last_error()[1])
        return tuple(position for position in positions if position.magic == self._config.magic)

    def resume(self, api: TradingTerminal) -> None:
        """Wait for the outcome of an order that was under way when the link broke, before anything else is done.

        On the first connection for a minute at most, since it may have been sent by the process before this one: its
        position is not to be seen yet, and to open another would double it.
        """
        if self._pending is not None:
            self._follow(api, self._pending)
        elif self._is_first and not self._until(lambda: not api.describe()["unsettled"], _FORMER_SECONDS):
            self._report.warning("what became of an earlier order on this account is not known; trading goes on")
        self._is_first = False

    def carry_out(self, api: TradingTerminal, wishes: Sequence[Wish], occasion: str) -> None:
        """Do what a strategy wished on an occasion (the bar's time, a tick, a deal). Gives up after a refusal."""
        base = f"{self._config.bot_id}:{self._config.revision}:{occasion}"
        for number, wish in enumerate(wishes):
            match wish:
                case Target():
                    done = self._reach(api, wish, base)
                case Open():
                    done = self._step(api, f"{base}:{number}:open:{wish.side.name.lower()}", self._new(api, wish))
                case Close():
                    done = self._close(api, wish, base)
                case Modify():
                    done = self._step(api, f"{base}:{number}:modify:{wish.ticket}", self._levels(wish))
            if not done:
                return

    def _reach(self, api: TradingTerminal, target: Target, base: str) -> bool:
        """Close what does not fit the target, then open what is missing."""
        kept = False
        for position in self.positions(api):
            if target.side is not None and position.type == target.side.value and not kept:
                kept = True
            elif not self._step(api, f"{base}:close:{position.ticket}", self._closing(api, position)):
                return False
        if target.side is None or kept:
            return True
        return self._step(api, f"{base}:open:{target.side.name.lower()}", self._opening(api, target.side, target))

    def _close(self, api: TradingTerminal, wish: Close, base: str) -> bool:
        """A position that is gone has nothing left to close."""
        for position in self.positions(api):
            if position.ticket == wish.ticket:
                return self._step(api, f"{base}:close:{wish.ticket}", self._closing(api, position))
        return True

    def _step(self, api: TradingTerminal, order_id: str, request: dict[str, Any]) -> bool:
        return self._rule_out_former(api, order_id) and self._send(api, order_id, request)

    def _send(self, api: TradingTerminal, order_id: str, request: dict[str, Any]) -> bool:
        """Whether the order is carried out. Raises BridgeLost when that is not known; `resume` then finds out."""
        if api.outcome(order_id) is not None:
            return self._follow(api, order_id)
        before = {position.ticket for position in self.positions(api)}
        self._pending = order_id
        try:
            result = api.send_once(order_id, request)
        except BridgeError as error:
            if error.code == "outcome_unknown":
                return self._follow(api, order_id)
            self._pending = None
            if error.retryable:
                raise
            self._report.warning(f"{_words(request)} was refused: {error.message}")
            return False
        if result is None or result.retcode in _UNCERTAIN:
            return self._follow(api, order_id)
        self._pending = None
        done = self._judge(request, result)
        if done and request["action"] != _SLTP:
            self._until(lambda: {position.ticket for position in self.positions(api)} != before, _VISIBLE_SECONDS)
        return done

    def _judge(self, request: dict[str, Any], result: Any) -> bool:
        """Whether an answer says that the request is carried out."""
        if result.retcode not in _DONE:
            name = RETCODES.get(result.retcode, str(result.retcode))
            self._report.warning(f"{_words(request)} was refused: {result.comment or name}")
            return False
        if request["action"] == _SLTP:
            self._report.info(_words(request))
            return True
        self._report.info(f"{_words(request)} at {result.price:g}")
        return True

    def _rule_out_former(self, api: TradingTerminal, order_id: str) -> bool:
        """An order that never came to the worker may still be on its way, and must not come after another one is sent.

        Whether that is certain: it may have come just now.
        """
        former = self._never_came
        if former is not None and former != order_id and api.give_up(former)["state"] != "not_executed":
            self._follow(api, former)
            return False
        self._never_came = None
        return True

    def _follow(self, api: TradingTerminal, order_id: str) -> bool:
        """Wait until the worker knows what became of an order; whether it was carried out."""
        self._pending = order_id
        row: dict[str, Any] | None = None

        def settled() -> bool:
            nonlocal row
            row = api.outcome(order_id)
            return row is None or row["state"] in _SETTLED

        self._until(settled, None)
        self._pending = None
        self._never_came = order_id if row is None else None
        state = "never sent" if row is None else row["state"]
        if state != "done":
            self._report.warning(f"order {order_id}: {state.replace('_', ' ')}")
        return state == "done"

    def _until(self, condition: Callable[[], bool], seconds: float | None) -> bool:
        """Whether it came true in time."""
        # A real terminal may show a new position a moment after the order is done.
        deadline = None if seconds is None else time.monotonic() + seconds
        while not condition():
            if self._stop.wait(_POLL_SECONDS):
                raise StoppedError
            if deadline is not None and time.monotonic() > deadline:
                return False
        return True

    def _new(self, api: TradingTerminal, wish: Open) -> dict[str, Any]:
        request, _, info = self._deal(api, wish.side)
        levels = {"sl": round(wish.stop_loss, info.digits), "tp": round(wish.take_profit, info.digits)}
        return request | {"volume": wish.volume} | {name: level for name, level in levels.items() if level}

    def _levels(self, wish: Modify) -> dict[str, Any]:
        return {
            "action": _SLTP,
            "magic": self._config.magic,
            "symbol": self._config.symbol,
            "position": wish.ticket,
            "sl": wish.stop_loss,
            "tp": wish.take_profit,
        }

    def _opening(self, api: TradingTerminal, side: Side, target: Target) -> dict[str, Any]:
        request, price, info = self._deal(api, side)
        request["volume"] = self._config.volume
        if target.stop_loss_points:
            request["sl"] = round(price - side.sign * target.stop_loss_points * info.point, info.digits)
        if target.take_profit_points:
            request["tp"] = round(price + side.sign * target.take_profit_points * info.point, info.digits)
        return request

    def _closing(self, api: TradingTerminal, position: Any) -> dict[str, Any]:
        request, _, _ = self._deal(api, _OPPOSITE[position.type])
        return request | {"volume": position.volume, "position": position.ticket}

    def _deal(self, api: TradingTerminal, side: Side) -> tuple[dict[str, Any], float, Any]:
        tick, info = api.symbol_info_tick(self._config.symbol), api.symbol_info(self._config.symbol)
        if tick is None or info is None:
            raise AwayError(api.last_error()[1])
        price = float(tick.ask if side is Side.LONG else tick.bid)
        request = {
            "action": _DEAL,
            "magic": self._config.magic,
            "symbol": self._config.symbol,
            "price": price,
            "deviation": _DEVIATION_POINTS,
            "type": side.value,
            "type_filling": filling(info.filling_mode),
            "type_time": _GTC,
            "comment": self._config.bot_id[:_MAX_COMMENT],
        }
        return request, price, info


class InstantExecution(Execution):
    """Carries out where no answer is ever lost, so that nothing needs to be waited for or found out."""

    def __init__(self, config: Orders, report: ShortReport, held: Callable[[int], tuple[Held, ...]]) -> None:
        """`held` gives the open positions of a magic number."""
        super().__init__(config, report, threading.Event())
        self._short_report = report
        self._held = held

    def positions(self, api: TradingTerminal) -> tuple[Any, ...]:
        return self._held(self._config.magic)

    def _step(self, api: TradingTerminal, order_id: str, request: dict[str, Any]) -> bool:
        result = api.send_once(order_id, request)
        return (self._short_report.is_full and result.retcode in _DONE) or self._judge(request, result)


def filling(allowed: int) -> int:
    """The filling of a market order for the symbol's flags: fill-or-kill, else immediate-or-cancel, else return."""
    if allowed & _FOK_FLAG:
        return CONSTANTS["ORDER_FILLING_FOK"]
    return CONSTANTS["ORDER_FILLING_IOC"] if allowed & _IOC_FLAG else CONSTANTS["ORDER_FILLING_RETURN"]


def _words(request: dict[str, Any]) -> str:
    if "type" not in request:
        return f"set stop loss {request['sl']:g} and take profit {request['tp']:g} of {request['position']}"
    verb = "buy" if request["type"] == Side.LONG.value else "sell"
    purpose = f" to close {request['position']}" if "position" in request else ""
    return f"{verb} {request['volume']:g} {request['symbol']}{purpose}"
