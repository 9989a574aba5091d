"""Carries out what a strategy wants, exactly once, whatever happens to the link in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from mt5_bridge.client import BridgeError, MetaTrader5
from mt5_bridge.contract import CONSTANTS, RETCODES
from mt5_bridge.strategies.base import Side, Target
from mt5_bridge.strategies.bot_files import BotConfig, BotReport

_DONE: Final = frozenset(CONSTANTS[f"TRADE_RETCODE_{name}"] for name in ("PLACED", "DONE", "DONE_PARTIAL"))
_UNCERTAIN: Final = frozenset(CONSTANTS[f"TRADE_RETCODE_{name}"] for name in ("ERROR", "TIMEOUT", "CONNECTION"))
_SETTLED: Final = frozenset({"done", "refused", "not_executed"})
_FOK_FLAG, _IOC_FLAG = 1, 2
_DEVIATION_POINTS: Final = 20
_POLL_SECONDS: Final = 0.1
_VISIBLE_SECONDS: Final = 2.0
_FORMER_SECONDS: Final = 60.0
_MAX_COMMENT: Final = 29


class AwayError(Exception):
    """The terminal gave no answer; try again when it is back."""


class StoppedError(Exception):
    """The bot was asked to stop while it waited."""


class Execution:
    """The trading side of one bot. It outlives connections: an order under way is followed on the next one.

    Every order has an id made of the bot, the bar and the step, so that doing the same step again sends nothing.
    """

    def __init__(self, config: BotConfig, report: BotReport, stop: threading.Event) -> None:
        self._config = config
        self._report = report
        self._stop = stop
        self._pending: str | None = None
        self._is_first = True
        self._never_came: str | None = None

    def positions(self, api: MetaTrader5) -> tuple[Any, ...]:
        """The bot's own open positions: its symbol, its magic number. Raises AwayError."""
        positions = api.positions_get(symbol=self._config.symbol)
        if positions is None:
            raise AwayError(api.last_error()[1])
        return tuple(position for position in positions if position.magic == self._config.magic)

    def resume(self, api: MetaTrader5) -> None:
        """Wait for the outcome of an order that was under way when the link broke, before anything else is done.

        On the first connection for a minute at most, since it may have been sent by the process before this one: its
        position is not to be seen yet, and to open another would double it.
        """
        if self._pending is not None:
            self._follow(api, self._pending)
        elif self._is_first and not self._until(lambda: not api.describe()["unsettled"], _FORMER_SECONDS):
            self._report.warning("what became of an earlier order on this account is not known; trading goes on")
        self._is_first = False

    def reach(self, api: MetaTrader5, target: Target, bar_time: int) -> None:
        """Close what does not fit the target, then open what is missing. Gives up for this bar after a refusal."""
        base = f"{self._config.bot_id}:{self._config.revision}:{bar_time}"
        kept = False
        for position in self.positions(api):
            if target.side is not None and position.type == target.side.value and not kept:
                kept = True
            elif not self._step(api, f"{base}:close:{position.ticket}", self._closing(api, position)):
                return
        if target.side is not None and not kept:
            self._step(api, f"{base}:open:{target.side.name.lower()}", self._opening(api, target.side, target))

    def _step(self, api: MetaTrader5, order_id: str, request: dict[str, Any]) -> bool:
        return self._rule_out_former(api, order_id) and self._send(api, order_id, request)

    def _send(self, api: MetaTrader5, order_id: str, request: dict[str, Any]) -> bool:
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
        if result.retcode not in _DONE:
            name = RETCODES.get(result.retcode, str(result.retcode))
            self._report.warning(f"{_words(request)} was refused: {result.comment or name}")
            return False
        self._report.info(f"{_words(request)} at {result.price:g}")
        self._until(lambda: {position.ticket for position in self.positions(api)} != before, _VISIBLE_SECONDS)
        return True

    def _rule_out_former(self, api: MetaTrader5, order_id: str) -> bool:
        """An order that never came to the worker may still be on its way, and must not come after another one is sent.

        Whether that is certain: it may have come just now.
        """
        former = self._never_came
        if former is not None and former != order_id and api.give_up(former)["state"] != "not_executed":
            self._follow(api, former)
            return False
        self._never_came = None
        return True

    def _follow(self, api: MetaTrader5, order_id: str) -> bool:
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

    def _opening(self, api: MetaTrader5, side: Side, target: Target) -> dict[str, Any]:
        request, price, info = self._deal(api, side)
        direction = 1 if side is Side.LONG else -1
        request["volume"] = self._config.volume
        if target.stop_loss_points:
            request["sl"] = round(price - direction * target.stop_loss_points * info.point, info.digits)
        if target.take_profit_points:
            request["tp"] = round(price + direction * target.take_profit_points * info.point, info.digits)
        return request

    def _closing(self, api: MetaTrader5, position: Any) -> dict[str, Any]:
        request, _, _ = self._deal(api, Side(1 - position.type))
        return request | {"volume": position.volume, "position": position.ticket}

    def _deal(self, api: MetaTrader5, side: Side) -> tuple[dict[str, Any], float, Any]:
        tick, info = api.symbol_info_tick(self._config.symbol), api.symbol_info(self._config.symbol)
        if tick is None or info is None:
            raise AwayError(api.last_error()[1])
        price = float(tick.ask if side is Side.LONG else tick.bid)
        request = {
            "action": CONSTANTS["TRADE_ACTION_DEAL"],
            "magic": self._config.magic,
            "symbol": self._config.symbol,
            "price": price,
            "deviation": _DEVIATION_POINTS,
            "type": side.value,
            "type_filling": filling(info.filling_mode),
            "type_time": CONSTANTS["ORDER_TIME_GTC"],
            "comment": self._config.bot_id[:_MAX_COMMENT],
        }
        return request, price, info


def filling(allowed: int) -> int:
    """The filling of a market order for the symbol's flags: fill-or-kill, else immediate-or-cancel, else return."""
    if allowed & _FOK_FLAG:
        return CONSTANTS["ORDER_FILLING_FOK"]
    return CONSTANTS["ORDER_FILLING_IOC"] if allowed & _IOC_FLAG else CONSTANTS["ORDER_FILLING_RETURN"]


def _words(request: dict[str, Any]) -> str:
    verb = "buy" if request["type"] == Side.LONG.value else "sell"
    purpose = f" to close {request['position']}" if "position" in request else ""
    return f"{verb} {request['volume']:g} {request['symbol']}{purpose}"
