"""A backend of the bridge in the form of the official package, so that both can be asked the same things."""

from __future__ import annotations

from typing import Any

from mt5_bridge.backends import Backend
from mt5_bridge.client import orders
from mt5_bridge.contract import CONSTANTS, FUNCTIONS
from mt5_bridge.structs import STRUCT_CLASSES

BUY, SELL = CONSTANTS["ORDER_TYPE_BUY"], CONSTANTS["ORDER_TYPE_SELL"]


class Package:
    """`mt5` over a backend: functions, constants and structs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            return lambda *args, **kwargs: self._backend.call(name, args, kwargs)
        return CONSTANTS[name] if name in CONSTANTS else STRUCT_CLASSES[name]

    def Buy(self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:
        return orders.deal(self, BUY, symbol, volume, price, comment, ticket)

    def Sell(self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:
        return orders.deal(self, SELL, symbol, volume, price, comment, ticket)

    def Close(self, symbol: Any, *, comment: Any = None, ticket: Any = None) -> Any:
        return orders.close(self, symbol, comment, ticket)
