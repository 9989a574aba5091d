"""Live symbols, quotes and bars of an account's terminal."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from control_plane.access.port import Target, TerminalDoor, TerminalSession
from control_plane.access.schemas import BarList, BarOut, SymbolOut
from control_plane.access.service import ask, not_ready
from control_plane.errors import invalid_field
from mt5_bridge.contract import CONSTANT_GROUPS

TIMEFRAMES = {name.removeprefix("TIMEFRAME_"): code for name, code in CONSTANT_GROUPS["TIMEFRAME"].items()}
_SPEC_SECONDS = 30.0
_MOST_CACHED = 5000


@dataclass(frozen=True)
class SymbolSpec:
    """What an order is checked against. Volumes in lots, exact; levels in points; modes as in the official API."""

    name: str
    digits: int
    point: float
    volume_min: Decimal
    volume_max: Decimal
    volume_step: Decimal
    stops_level: int
    freeze_level: int
    trade_mode: int
    execution: int
    order_mode: int
    filling_mode: int
    expiration_mode: int
    visible: bool


class Market:
    """Symbol specifications are remembered for 30 s, quotes never."""

    def __init__(self, door: TerminalDoor) -> None:
        self._door = door
        self._lock = threading.Lock()
        self._specs: dict[tuple[Target, str], tuple[float, SymbolSpec]] = {}

    def symbols(self, target: Target) -> list[SymbolOut]:
        found = ask(self._door, target, lambda terminal: terminal.symbols_get())
        if found is None:
            raise not_ready("The terminal has no symbols yet; please try again.")
        return [_present_symbol(each) for each in found]

    def bars(self, target: Target, symbol: str, timeframe: str, count: int) -> BarList:
        """The newest bars, oldest first. Raises InvalidInputError for an unknown symbol or timeframe."""
        code = TIMEFRAMES.get(timeframe)
        if code is None:
            raise invalid_field("timeframe", f"There is no timeframe '{timeframe}'.", code="unknown_timeframe")
        return ask(self._door, target, lambda terminal: self._bars(terminal, target, symbol, timeframe, code, count))

    def spec(self, terminal: TerminalSession, target: Target, symbol: str) -> SymbolSpec:
        """Raises InvalidInputError `unknown_symbol`."""
        key = (target, symbol)
        with self._lock:
            cached = self._specs.get(key)
        if cached is not None and time.monotonic() - cached[0] < _SPEC_SECONDS:
            return cached[1]
        info = terminal.symbol_info(symbol)
        if info is None:
            raise invalid_field("symbol", f"The broker does not offer the symbol '{symbol}'.", code="unknown_symbol")
        spec = spec_of(info)
        with self._lock:
            if len(self._specs) >= _MOST_CACHED:
                self._specs.clear()
            # A symbol that is not in Market Watch yet soon will be, so that is not worth remembering.
            if spec.visible:
                self._specs[key] = (time.monotonic(), spec)
        return spec

    def _bars(
        self, terminal: TerminalSession, target: Target, symbol: str, timeframe: str, code: int, count: int
    ) -> BarList:
        spec = self.spec(terminal, target, symbol)
        rates = terminal.copy_rates_from_pos(symbol, code, 0, count)
        if rates is None:
            raise not_ready("The terminal has no bars of this symbol yet; please try again.")
        return BarList(
            symbol=symbol,
            timeframe=timeframe,
            digits=spec.digits,
            items=[_present_bar(rate) for rate in rates.tolist()],
        )


def spec_of(info: Any) -> SymbolSpec:
    return SymbolSpec(
        name=info.name,
        digits=info.digits,
        point=info.point,
        volume_min=Decimal(repr(info.volume_min)),
        volume_max=Decimal(repr(info.volume_max)),
        volume_step=Decimal(repr(info.volume_step)),
        stops_level=info.trade_stops_level,
        freeze_level=info.trade_freeze_level,
        trade_mode=info.trade_mode,
        execution=info.trade_exemode,
        order_mode=info.order_mode,
        filling_mode=info.filling_mode,
        expiration_mode=info.expiration_mode,
        visible=bool(info.visible),
    )


def _present_symbol(info: Any) -> SymbolOut:
    return SymbolOut(
        name=info.name,
        description=info.description,
        digits=info.digits,
        point=info.point,
        volume_min=info.volume_min,
        volume_max=info.volume_max,
        volume_step=info.volume_step,
        stops_level=info.trade_stops_level,
        order_mode=info.order_mode,
        expiration_mode=info.expiration_mode,
        bid=info.bid,
        ask=info.ask,
        broker_time=info.time,
    )


def _present_bar(rate: tuple[Any, ...]) -> BarOut:
    opened, first, high, low, close, tick_volume = rate[:6]
    return BarOut(time=opened, open=first, high=high, low=low, close=close, tick_volume=tick_volume)
