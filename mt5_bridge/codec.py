"""Values of the MT5 API to and from the plain tuples that cross the link.

Only None, bool, int, float, str, bytes and tuples of these cross. Everything else is a tuple that starts with a tag:

    ("t", items)              a tuple
    ("d", ((key, value), ..)) a dict with str keys
    ("s", name, fields)       a struct
    ("l", name, rows)         a tuple of structs of one kind, one row of fields each
    ("a", dtype key, bytes)   a one-dimensional numpy array of DTYPES[dtype key]

Decoding trusts nothing: an unknown tag, a wrong number of fields or too deep a nesting raises CodecError.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import RATES_DTYPE, STRUCT_CLASSES, TICKS_DTYPE

MAX_DEPTH: Final = 6
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_ARRAYS: Final[dict[str, np.dtype[Any]]] = {"rates": np.dtype(RATES_DTYPE), "ticks": np.dtype(TICKS_DTYPE)}
_NESTED: Final = frozenset(name for name, fields in STRUCTS.items() if any(kind is tuple for _, kind in fields))


class CodecError(ValueError):
    """A value that may not cross the link, or bytes from the link that are no value."""


def encode(value: Any) -> Any:
    """Make a value ready for the link. Raises CodecError for types that the API does not use."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, tuple):
        return _encode_tuple(value)
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    if isinstance(value, dict):
        return ("d", tuple((_key(key), encode(item)) for key, item in value.items()))
    for plain in (bool, int, float, str):
        if isinstance(value, plain):  # np.float64 and other subclasses lose their class, not their value
            return plain(value)
    raise CodecError(f"a {type(value).__name__} cannot cross the link")


def decode(data: Any, depth: int = 0) -> Any:
    """Rebuild a value that `encode` made. Raises CodecError."""
    if type(data) in _PLAIN:
        return data
    if type(data) is not tuple or not data or depth >= MAX_DEPTH:
        raise CodecError("not an encoded value")
    match data:
        case ("t", tuple(items)):
            return tuple(decode(item, depth + 1) for item in items)
        case ("s", str(name), tuple(fields)):
            return _struct(name, fields, depth)
        case ("l", str(name), tuple(rows)):
            return tuple(_struct(name, row, depth) for row in rows)
        case ("a", str(key), bytes(content)):
            return _array(key, content)
        case ("d", tuple(pairs)):
            return _dict(pairs, depth)
    raise CodecError("not an encoded value")


def _encode_tuple(value: tuple[Any, ...]) -> Any:
    name = _struct_name(value)
    if name is not None:
        return ("s", name, _fields(name, value))
    if value:
        first = _struct_name(value[0])
        if first is not None and all(type(item) is type(value[0]) for item in value):
            return ("l", first, tuple(_fields(first, item) for item in value))
    return ("t", tuple(encode(item) for item in value))


def _struct_name(value: Any) -> str | None:
    # By name and not by class: the official package brings its own classes of the same names.
    kind = type(value)
    return kind.__name__ if kind is not tuple and isinstance(value, tuple) and kind.__name__ in STRUCTS else None


def _fields(name: str, value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(value) != len(STRUCTS[name]):
        raise CodecError(f"{name} has {len(value)} fields, not {len(STRUCTS[name])}")
    return tuple(encode(item) for item in value) if name in _NESTED else tuple(value)


def _encode_array(array: npt.NDArray[Any]) -> Any:
    for key, dtype in _ARRAYS.items():
        if array.dtype == dtype and array.ndim == 1:
            return ("a", key, array.tobytes())
    raise CodecError(f"an array of {array.dtype} cannot cross the link")


def _key(key: Any) -> str:
    if type(key) is not str:
        raise CodecError("keys must be str")
    return key


def _struct(name: str, fields: Any, depth: int) -> Any:
    cls = STRUCT_CLASSES.get(name)
    if cls is None or type(fields) is not tuple:
        raise CodecError("unknown struct")
    try:
        return cls(tuple(decode(field, depth + 1) for field in fields) if name in _NESTED else fields)
    except TypeError as error:
        raise CodecError(str(error)) from error


def _array(key: str, content: bytes) -> npt.NDArray[Any]:
    dtype = _ARRAYS.get(key)
    if dtype is None or len(content) % dtype.itemsize:
        raise CodecError("not an array of the API")
    array = np.frombuffer(content, dtype=dtype).copy()  # a copy owns its data, as the package's arrays do (A13)
    array.setflags(write=False)
    return array


def _dict(pairs: tuple[Any, ...], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for pair in pairs:
        if type(pair) is not tuple or len(pair) != 2:
            raise CodecError("not an encoded dict")
        result[_key(pair[0])] = decode(pair[1], depth + 1)
    return result
