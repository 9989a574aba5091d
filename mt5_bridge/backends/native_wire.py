"""What passes between the native backend and its host process: frames on a pair of pipes.

A frame is two lengths of four bytes each (big endian), a body of `marshal` and a tail of plain bytes, which only an
array has: it goes from the package's memory to ours without being packed. The host sends a greeting, then answers one
request at a time.

    greeting    ("ready", package version) or ("failed", reason)
    request     (function, args, ((name, value), ..))      values as the codec encodes them
    answer      ("ok", value, error code, error text) or
                ("array", "rates" or "ticks", error code, error text) and the rows as the tail, or
                ("raise", (class, message, cause's class, cause's message), error code, error text)

Both ends are ours and the pipes belong to them alone, so the fastest packing of the standard library will do. What
comes out is still checked by the codec. This file also runs in the Windows Python.
"""

from __future__ import annotations

import marshal
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE

MAX_FRAME: Final = 1 << 30
HEADER: Final = struct.Struct("!LL")
# The oldest format with binary floats: every Python that can run either end reads it.
_FORMAT: Final = 2

ARRAYS: Final[dict[str, np.dtype[Any]]] = {"rates": np.dtype(RATES_DTYPE), "ticks": np.dtype(TICKS_DTYPE)}
READY: Final = "ready"
FAILED: Final = "failed"

_EXCEPTIONS: Final[dict[str, type[Exception]]] = {
    kind.__name__: kind for kind in (TypeError, SystemError, ValueError, OverflowError, AttributeError)
}


class WireError(Exception):
    """Bytes that are no frame, or a frame that is no message."""


def pack(message: tuple[Any, ...], tail: int = 0) -> bytes:
    """A frame but for its tail of so many bytes.

    Raises WireError for a message or tail that is too large, and for values that the codec did not encode.
    """
    try:
        body = marshal.dumps(message, _FORMAT)
    except ValueError as error:
        raise WireError("a value cannot cross the pipe") from error
    if len(body) > MAX_FRAME or tail > MAX_FRAME:
        raise WireError("the message is too large")
    return HEADER.pack(len(body), tail) + body


def lengths(header: bytes | bytearray) -> tuple[int, int]:
    """Lengths of the body and the tail after a header. Raises WireError above the cap, before anything is read."""
    body, tail = HEADER.unpack(header)
    if not 0 < body <= MAX_FRAME or tail > MAX_FRAME:
        raise WireError("not a frame")
    return int(body), int(tail)


def unpack(body: bytes | bytearray) -> tuple[Any, ...]:
    """The message of a frame's body. Raises WireError."""
    try:
        message = marshal.loads(body)  # noqa: S302 - from our own child, see above
    except (ValueError, EOFError, TypeError) as error:
        raise WireError("not a message") from error
    if type(message) is not tuple or not message:
        raise WireError("not a message")
    return message


def describe(error: BaseException) -> tuple[str, str, str, str]:
    """An exception and its cause as texts."""
    cause = error.__cause__
    return type(error).__name__, str(error), "" if cause is None else type(cause).__name__, str(cause or "")


def rebuild(described: tuple[str, str, str, str]) -> Exception:
    """The exception that `describe` described; RuntimeError for classes that the package does not raise."""
    name, message, cause, cause_message = described
    error = _EXCEPTIONS.get(name, RuntimeError)(message)
    if cause:
        error.__cause__ = _EXCEPTIONS.get(cause, RuntimeError)(cause_message)
    return error


def array_key(array: npt.NDArray[Any]) -> str | None:
    """Which array of the API it is; None for one that cannot be a tail."""
    if array.ndim != 1 or not array.flags.c_contiguous:
        return None
    return next((key for key, dtype in ARRAYS.items() if array.dtype == dtype), None)


def rows(key: str, tail: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """The array of a tail, read-only as the package's are. Raises WireError."""
    dtype = ARRAYS.get(key)
    if dtype is None or tail.size % dtype.itemsize:
        raise WireError("not an array of the API")
    array = tail.view(dtype)
    array.setflags(write=False)
    return array
