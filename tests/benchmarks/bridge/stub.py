"""A terminal that costs nothing: every answer is made beforehand, so that the way to it is measured."""

from __future__ import annotations

import functools
import itertools
import json
from collections import namedtuple
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import RATES_DTYPE, STRUCT_CLASSES, TICKS_DTYPE

SYMBOL: Final = "EURUSD"
LOGIN, SERVER, TOKEN = 5001, "MT5Farm-Demo", "local-secret-0123456789"
POSITIONS: Final = 100
ROWS: Final = 1_000_000
STREAM_CHUNK: Final = 2_000
_TEXT: Final = {"symbol": SYMBOL, "name": SYMBOL, "server": SERVER, "currency": "USD", "comment": "moving average"}

ORDER: Final[dict[str, Any]] = {
    "action": 1,
    "symbol": SYMBOL,
    "volume": 0.1,
    "type": 0,
    "price": 1.1,
    "deviation": 10,
    "magic": 7,
    "comment": "moving average",
}


def fields(name: str) -> tuple[Any, ...]:
    """Plausible values for a struct: no zeros, which would pack too well elsewhere."""
    values: list[Any] = []
    for place, (field, kind) in enumerate(STRUCTS[name]):
        if kind is tuple:
            values.append(STRUCT_CLASSES["TradeRequest"](fields("TradeRequest")))
        elif kind is str:
            values.append(_TEXT.get(field, field))
        elif kind is bool:
            values.append(bool(place % 2))
        else:
            values.append(kind(1_700_000_000 + place) if kind is int else 1.1 + place / 7)
    return tuple(values)


def struct(name: str) -> Any:
    return STRUCT_CLASSES[name](fields(name))


def account() -> Any:
    values = dict(zip((field for field, _ in STRUCTS["AccountInfo"]), fields("AccountInfo"), strict=True))
    return STRUCT_CLASSES["AccountInfo"]((values | {"login": LOGIN, "server": SERVER}).values())


def result() -> Any:
    return STRUCT_CLASSES["OrderSendResult"]((10009, *fields("OrderSendResult")[1:]))


def terminal() -> Any:
    return STRUCT_CLASSES["TerminalInfo"](
        True if field == "connected" else value
        for (field, _), value in zip(STRUCTS["TerminalInfo"], fields("TerminalInfo"), strict=True)
    )


def _walk(rows: int, seed: int) -> Any:
    """Prices that move as prices do: regular ones would compress as no market does."""
    steps = np.random.default_rng(seed).normal(0.0, 1e-4, rows)
    return np.round(1.1 * np.exp(np.cumsum(steps) / 10), 5)


def rates() -> Any:
    array = np.empty(ROWS, RATES_DTYPE)
    chance = np.random.default_rng(1)
    array["time"] = 1_600_000_000 + np.arange(ROWS) * 60
    array["open"] = array["close"] = _walk(ROWS, 2)
    array["close"][:-1] = array["open"][1:]
    array["high"] = np.maximum(array["open"], array["close"]) + chance.integers(0, 30, ROWS) / 1e5
    array["low"] = np.minimum(array["open"], array["close"]) - chance.integers(0, 30, ROWS) / 1e5
    array["tick_volume"] = chance.integers(1, 400, ROWS)
    array["spread"], array["real_volume"] = chance.integers(0, 20, ROWS), 0
    return array


def ticks(rows: int = ROWS) -> Any:
    array = np.empty(rows, TICKS_DTYPE)
    chance = np.random.default_rng(3)
    array["time_msc"] = 1_700_000_000_000 + np.cumsum(chance.integers(1, 900, rows))
    array["time"] = array["time_msc"] // 1000
    array["bid"] = _walk(rows, 4)
    array["ask"], array["last"] = array["bid"] + chance.integers(1, 20, rows) / 1e5, 0.0
    array["volume"], array["flags"], array["volume_real"] = 0, 6, 0.0
    return array


_MOVED_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "symbol_info_tick": ("time", "bid", "ask", "time_msc"),
    "account_info": ("profit", "equity", "margin_free", "margin_level"),
    "symbol_info": ("time", "bid", "bidhigh", "bidlow", "ask", "askhigh", "asklow", "volumehigh", "price_change"),
}
"""What another tick changes."""
_MOVES: Final = 64


def _moving(function: str, still: Any) -> Iterator[Any]:
    """An answer whose values are others at each call, again and again."""
    moved = []
    for move in range(_MOVES):
        values = still._asdict()
        for field in _MOVED_FIELDS[function]:
            values[field] += move
        moved.append(type(still)(values.values()))
    return itertools.cycle(moved)


class StubBackend:
    """The package as a backend. `flood` makes it have new ticks whenever it is asked, `moving` other values."""

    def __init__(self, *, flood: bool = False, moving: bool = False) -> None:
        self._flood = flood
        self._fresh = 0
        self._rates, self._ticks = rates(), ticks()
        self._answers: dict[str, Any] = {
            "initialize": True,
            "terminal_info": terminal(),
            "account_info": account(),
            "symbol_info_tick": struct("Tick"),
            "symbol_info": struct("SymbolInfo"),
            "positions_get": tuple(struct("TradePosition") for _ in range(POSITIONS)),
            "orders_get": (),
            "history_orders_get": (),
            "history_deals_get": (),
            "order_send": result(),
        }

        self._moving = {function: _moving(function, self._answers[function]) for function in _MOVED_FIELDS if moving}

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if function in self._moving:
            return next(self._moving[function])
        if not self._flood and function in self._answers:
            return self._answers[function]
        if function.startswith("copy_rates"):
            return self._rates[: args[3]]
        if function == "copy_ticks_from":
            return self._new_ticks() if self._flood else self._ticks[: args[2]]
        if self._flood and function == "symbol_info_tick":
            return STRUCT_CLASSES["Tick"](self._new_ticks()[-1].item())
        return self._answers[function]

    def _new_ticks(self) -> Any:
        self._fresh += STREAM_CHUNK
        start = self._fresh % (ROWS - STREAM_CHUNK)
        chunk = self._ticks[start : start + STREAM_CHUNK].copy()
        chunk["time_msc"] = 1_700_000_000_000 + self._fresh + np.arange(STREAM_CHUNK)
        chunk["time"] = chunk["time_msc"] // 1000
        return chunk

    def last_error(self) -> tuple[int, str]:
        return (1, "Success")

    def close(self) -> None:
        """Nothing is open."""


# The same answers for the other ways, which need classes that pickle finds.
Tick = namedtuple("Tick", [field for field, _ in STRUCTS["Tick"]])  # type: ignore[misc]
AccountInfo = namedtuple("AccountInfo", [field for field, _ in STRUCTS["AccountInfo"]])  # type: ignore[misc]
SymbolInfo = namedtuple("SymbolInfo", [field for field, _ in STRUCTS["SymbolInfo"]])  # type: ignore[misc]
TradePosition = namedtuple("TradePosition", [field for field, _ in STRUCTS["TradePosition"]])  # type: ignore[misc]
OrderSendResult = namedtuple("OrderSendResult", [field for field, _ in STRUCTS["OrderSendResult"]])  # type: ignore[misc]
TradeRequest = namedtuple("TradeRequest", [field for field, _ in STRUCTS["TradeRequest"]])  # type: ignore[misc]


class Module:
    """The stub as `import MetaTrader5 as mt5` gives it, with picklable structs."""

    def __init__(self) -> None:
        backend = StubBackend()
        self._backend = backend
        self._tick = Tick(*fields("Tick"))
        self._account = AccountInfo(*account())
        self._symbol = SymbolInfo(*fields("SymbolInfo"))
        self._positions = tuple(TradePosition(*fields("TradePosition")) for _ in range(POSITIONS))
        request = TradeRequest(*fields("TradeRequest"))
        self._result = OrderSendResult(*result()[:-1], request)  # type: ignore[call-arg]

    def symbol_info_tick(self, symbol: str) -> Any:
        return self._tick

    def account_info(self) -> Any:
        return self._account

    def symbol_info(self, symbol: str) -> Any:
        return self._symbol

    def positions_get(self) -> Any:
        return self._positions

    def order_send(self, request: Any) -> Any:
        return self._result

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
        return self._backend.call("copy_rates_from_pos", (symbol, timeframe, start, count), {})

    def copy_ticks_from(self, symbol: str, start: int, count: int, flags: int) -> Any:
        return self._backend.call("copy_ticks_from", (symbol, start, count, flags), {})


@functools.cache
def module() -> Module:
    """One for all connections of a server."""
    return Module()


def as_json(value: Any) -> Any:
    """What HTTP and ZeroMQ servers make of a value."""
    if isinstance(value, np.ndarray):
        return [list(row) for row in value.tolist()]
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: as_json(item) for name, item in value._asdict().items()}
    return [as_json(item) for item in value] if isinstance(value, tuple) else value


def dumps(value: Any) -> bytes:
    return json.dumps(as_json(value)).encode()
