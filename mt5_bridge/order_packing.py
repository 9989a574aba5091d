"""A trade request as one packed byte string, so that an order crosses the link as cheaply as a quote.

    which fields it has (I, a bit for each), numbers as C has them, texts and the caller's id joined by zero bytes

The layout leaves no room for what the package would refuse: every number has the width and sign of its field, and its
texts are ASCII (whose length in UTF-16 is their own) and measured on both sides. What does not fit goes the general
way, where `arguments.parse` says what is wrong with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from mt5_bridge.arguments import REQUEST
from mt5_bridge.codec import CodecError
from mt5_bridge.scalars import MAX_SYMBOL, Parameter

_FIELDS: Final = struct.Struct("<I")
_REMEMBERED_SHAPES: Final = 128
_NAMES: Final = {parameter.name: place for place, parameter in enumerate(REQUEST)}
_Picker = Callable[[Any], tuple[Any, ...]]


class _Shape:
    """How requests with certain fields are packed; fields are in the order of the package."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        numbers = [place for place, parameter in enumerate(parameters) if not parameter.is_text]
        texts = [place for place, parameter in enumerate(parameters) if parameter.is_text]
        packed = numbers + texts
        self.names = tuple(parameter.name for parameter in parameters)
        self.kinds = tuple(_kind(parameter) for parameter in parameters)
        self.numbers = struct.Struct("<" + "".join(_code(parameters[place]) for place in numbers))
        self.texts = len(texts)
        self.end = _FIELDS.size + self.numbers.size
        self.head = _FIELDS.pack(sum(1 << _NAMES[name] for name in self.names))
        self.restore = _picker([packed.index(place) for place in range(len(packed))])


def pack_order(request: dict[Any, Any], order_id: str) -> bytes | None:
    """The request and the caller's id ('' for none); None for what has to go the general way."""
    values = tuple(request.values())
    plan = _plan(tuple(request), tuple(map(type, values)))
    if plan is None:
        return None
    shape, pick_numbers, pick_texts = plan
    texts = pick_texts(values)
    joined = "\0".join((*texts, order_id))
    if joined.count("\0") != shape.texts or not _are_short(texts):
        return None
    try:
        return shape.head + shape.numbers.pack(*pick_numbers(values)) + joined.encode()
    except (struct.error, UnicodeError):
        return None


def unpack_order(body: bytes) -> tuple[dict[str, Any], str]:
    """The request, as `arguments.parse` gives it, and the caller's id, '' for none. Raises CodecError."""
    try:
        shape = _shape(_FIELDS.unpack_from(body)[0])
        numbers = shape.numbers.unpack_from(body, _FIELDS.size)
        *texts, order_id = str(body[shape.end :], "utf-8").split("\0")
    except (struct.error, ValueError) as error:
        raise CodecError("not an order") from error
    if len(texts) != shape.texts or not _are_short(texts):
        raise CodecError("not an order")
    return dict(zip(shape.names, shape.restore((*numbers, *texts)), strict=True)), order_id


def _are_short(texts: Sequence[str]) -> bool:
    joined = "".join(texts)
    return joined.isascii() and (len(joined) <= MAX_SYMBOL or max(map(len, texts)) <= MAX_SYMBOL)


@lru_cache(_REMEMBERED_SHAPES)
def _shape(fields: int) -> _Shape:
    if not 0 < fields < 1 << len(REQUEST):
        raise ValueError("no such fields")
    return _Shape([parameter for place, parameter in enumerate(REQUEST) if fields >> place & 1])


@lru_cache(_REMEMBERED_SHAPES)
def _plan(names: tuple[Any, ...], kinds: tuple[type, ...]) -> tuple[_Shape, _Picker, _Picker] | None:
    """How a request with these fields in this order is packed; None when one is unknown or not exactly of its type."""
    if not names or any(name not in _NAMES for name in names):
        return None
    shape = _shape(sum(1 << _NAMES[name] for name in names))
    places = [names.index(name) for name in shape.names]
    if tuple(kinds[place] for place in places) != shape.kinds:
        return None
    numbers = [place for place, kind in zip(places, shape.kinds, strict=True) if kind is not str]
    texts = [place for place, kind in zip(places, shape.kinds, strict=True) if kind is str]
    return shape, _picker(numbers), _picker(texts)


def _kind(parameter: Parameter) -> type:
    if parameter.is_text:
        return str
    return int if parameter.bits else float


def _code(parameter: Parameter) -> str:
    if not parameter.bits:
        return "d"
    code = {32: "I", 64: "Q"}[parameter.bits]
    return code.lower() if parameter.signed else code


def _picker(places: list[int]) -> _Picker:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple([row[place] for place in places])
