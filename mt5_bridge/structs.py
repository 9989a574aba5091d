"""The eleven result structs of the package, as tuple subclasses that look and behave like the official ones.

The official classes are C struct sequences: read-only tuples with named fields, built from one sequence of exactly the
right length, with `_asdict()` and nothing else of a namedtuple (behaviour A11). They cannot be pickled (A12).
"""

from __future__ import annotations

import pickle
from collections import namedtuple
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import numpy.typing as npt

from mt5_bridge.contract import DTYPES, STRUCTS


class Struct(tuple[Any, ...]):
    """Base of all result structs."""

    __slots__ = ()
    field_names: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, sequence: Iterable[Any]) -> Self:
        values = tuple(sequence)
        if len(values) != len(cls.field_names):
            raise TypeError(f"{cls.__name__}() takes a {len(cls.field_names)}-sequence ({len(values)}-sequence given)")
        return super().__new__(cls, values)

    def __getattr__(self, name: str) -> Any:
        # Only reached for names that are no field: the fields are descriptors of the subclass.
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in zip(self.field_names, self, strict=True))
        return f"{type(self).__name__}({fields})"

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(f"Can't pickle <class '{type(self).__name__}'>: attribute lookup on builtins failed")

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self.field_names, self, strict=True))


_named: Callable[[str, tuple[str, ...]], type] = namedtuple


def _struct(name: str) -> type[Struct]:
    fields = tuple(field for field, _ in STRUCTS[name])
    # A namedtuple's descriptors work on any tuple and are twice as fast as properties.
    named = _named(name, fields)  # kept in a variable, for its dict is emptied with it
    members: dict[str, Any] = {field: vars(named)[field] for field in fields}
    members |= {"__slots__": (), "field_names": fields, "__module__": "builtins"}
    return type(name, (Struct,), members)


AccountInfo = _struct("AccountInfo")
TerminalInfo = _struct("TerminalInfo")
SymbolInfo = _struct("SymbolInfo")
Tick = _struct("Tick")
BookInfo = _struct("BookInfo")
TradeOrder = _struct("TradeOrder")
TradePosition = _struct("TradePosition")
TradeDeal = _struct("TradeDeal")
OrderSendResult = _struct("OrderSendResult")
OrderCheckResult = _struct("OrderCheckResult")
TradeRequest = _struct("TradeRequest")

STRUCT_CLASSES: dict[str, type[Struct]] = {
    cls.__name__: cls
    for cls in (
        AccountInfo,
        TerminalInfo,
        SymbolInfo,
        Tick,
        BookInfo,
        TradeOrder,
        TradePosition,
        TradeDeal,
        OrderSendResult,
        OrderCheckResult,
        TradeRequest,
    )
}

RATES_DTYPE: npt.DTypeLike = np.dtype(list(DTYPES["rates"]))
TICKS_DTYPE: npt.DTypeLike = np.dtype(list(DTYPES["ticks"]))
