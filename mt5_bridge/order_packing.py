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
        numbers = [parameter for parameter in parameters if not parameter.is_text]
        texts = [parameter for parameter in parameters if parameter.is_text]
        packed = [*numbers, *texts]
        codes = "".join(map(_code, numbers))
        self.names = tuple(parameter.name for parameter in parameters)
        self.kinds = {parameter.name: _kind(parameter) for parameter in parameters}
        self.packed = struct.Struct(f"<{_FIELDS.size}s{codes}")
        self.numbers = struct.Struct(f"<{_FIELDS.size}x{codes}")
        self.texts = len(texts)
        self.head = _FIELDS.pack(sum(1 << _NAMES[name] for name in self.names))
        self.pick_numbers = _picker([parameter.name for parameter in numbers])
        self.pick_texts = _picker([parameter.name for parameter in texts])
        self.restore = _picker([packed.index(parameter) for parameter in parameters])


def pack_order(request: dict[Any, Any], order_id: str) -> bytes | None:
    """The request and the caller's id ('' for none); None for what has to go the general way."""
    plan = _plan(tuple(request))
    if plan is None or tuple(map(type, request.values())) != plan[1]:
        return None
    shape = plan[0]
    texts = shape.pick_texts(request)
    joined = "\0".join((*texts, order_id))
    if joined.count("\0") != shape.texts:
        return None
    if not (len(joined) <= MAX_SYMBOL and joined.isascii()) and not _are_short(texts):
        return None
    try:
        return shape.packed.pack(shape.head, *shape.pick_numbers(request)) + joined.encode()
    except (struct.error, UnicodeError):
        return None


def unpack_order(body: bytes) -> tuple[dict[str, Any], str]:
    """The request, as `arguments.parse` gives it, and the caller's id, '' for none. Raises CodecError."""
    try:
        shape = _shape(_FIELDS.unpack_from(body)[0])
        numbers = shape.numbers.unpack_from(body)
        joined = str(body[shape.numbers.size :], "utf-8")
    except (struct.error, ValueError) as error:
        raise CodecError("not an order") from error
    texts = joined.split("\0")
    order_id = texts.pop()
    if len(texts) != shape.texts:
        raise CodecError("not an order")
    if not (len(joined) <= MAX_SYMBOL and joined.isascii()) and not _are_short(texts):
        raise CodecError("not an order")
    return dict(zip(shape.names, shape.restore((*numbers, *texts)))), order_id  # noqa: B905 - both have all fields


def _are_short(texts: Sequence[str]) -> bool:
    """Whether the package takes texts of this length, which for ASCII is their length in UTF-16."""
    return all(len(text) <= MAX_SYMBOL and text.isascii() for text in texts)


@lru_cache(_REMEMBERED_SHAPES)
def _shape(fields: int) -> _Shape:
    if not 0 < fields < 1 << len(REQUEST):
        raise ValueError("no such fields")
    return _Shape([parameter for place, parameter in enumerate(REQUEST) if fields >> place & 1])


@lru_cache(_REMEMBERED_SHAPES)
def _plan(names: tuple[Any, ...]) -> tuple[_Shape, tuple[type, ...]] | None:
    """How a request with these fields is packed, and their types in this order; None when one is unknown."""
    if not names or any(name not in _NAMES for name in names):
        return None
    shape = _shape(sum(1 << _NAMES[name] for name in names))
    return shape, tuple(shape.kinds[name] for name in names)


def _kind(parameter: Parameter) -> type:
    if parameter.is_text:
        return str
    return int if parameter.bits else float


def _code(parameter: Parameter) -> str:
    if not parameter.bits:
        return "d"
    code = {32: "I", 64: "Q"}[parameter.bits]
    return code.lower() if parameter.signed else code


def _picker(keys: Sequence[Any]) -> _Picker:
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda row: tuple([row[key] for key in keys])
