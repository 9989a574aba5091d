"""The eleven result structs of the package, as tuple subclasses that look and behave like the official ones.

The official classes are C struct sequences: read-only tuples with named fields, built from one sequence of exactly the
right length, with `_asdict()` and nothing else of a namedtuple (behaviour A11). They cannot be pickled (A12).
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self

import numpy as np
import numpy.typing as npt

from mt5_bridge.contract import DTYPES, STRUCTS

_MISSING: Final = object()


class Struct(tuple[Any, ...]):
    """Base of all result structs."""

    __slots__ = ()
    field_names: ClassVar[tuple[str, ...]] = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    n_fields: ClassVar[int]
    n_sequence_fields: ClassVar[int]
    n_unnamed_fields: ClassVar[int] = 0

    def __init_subclass__(cls) -> None:
        if Struct not in cls.__bases__:
            raise TypeError(f"type {cls.__bases__[0].__name__!r} is not an acceptable base type")

    def __new__(cls, sequence: Iterable[Any] | Any = _MISSING, dict: Any = None) -> Self:  # noqa: A002 - its name there
        if sequence is _MISSING:
            raise TypeError("structseq() missing required argument 'sequence' (pos 1)")
        if dict is not None and not isinstance(dict, Mapping):
            raise TypeError(f"{cls.__name__}() takes a dict as second arg, if any")
        try:
            values = tuple(sequence)
        except TypeError:
            raise TypeError("constructor requires a sequence") from None
        if len(values) != len(cls.field_names):
            raise TypeError(f"{cls.__name__}() takes a {len(cls.field_names)}-sequence ({len(values)}-sequence given)")
        return super().__new__(cls, values)

    if TYPE_CHECKING:  # the fields; a real __getattr__ would slow down every reading of one

        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: object) -> NoReturn:
        self.__delattr__(name)

    def __delattr__(self, name: str) -> NoReturn:
        if name in self.field_names:
            raise AttributeError("readonly attribute")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in zip(self.field_names, self, strict=True))
        return f"{type(self).__name__}({fields})"

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # Copies are made from this. Pickling fails as there: the class says that it lives in builtins, where it is not.
        return type(self), (tuple(self), {})

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self.field_names, self, strict=True))


_named: Callable[[str, tuple[str, ...]], type] = namedtuple


def _struct(name: str) -> type[Struct]:
    fields = tuple(field for field, _ in STRUCTS[name])
    # A namedtuple's descriptors work on any tuple and are twice as fast as properties.
    named = _named(name, fields)  # kept in a variable, for its dict is emptied with it
    members: dict[str, Any] = {field: vars(named)[field] for field in fields}
    members |= {"__slots__": (), "__module__": "builtins", "__match_args__": fields, "field_names": fields}
    members |= {"n_fields": len(fields), "n_sequence_fields": len(fields)}
    return type(name, (Struct,), members)


unchecked: Final = tuple.__new__
"""Makes a struct of a tuple whose length is known to be right, in a third of the time: `unchecked(Tick, values)`."""

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
