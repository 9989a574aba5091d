"""What passes between the native backend and its host process: frames on a pair of pipes.

A frame is four bytes of length (big endian) and that many bytes of `marshal`: the host sends a greeting, then answers
one request at a time.

    greeting    ("ready", package version) or ("failed", reason)
    request     (function, args, ((name, value), ..))      values as the codec encodes them
    answer      ("ok", value, error code, error text) or
                ("raise", (class, message, cause's class, cause's message), error code, error text)

Both ends are ours and the pipes belong to them alone, so the fastest packing of the standard library will do: arrays
and structs cross at the speed of a copy. What comes out is still checked by the codec. Standard library only: this file
also runs in the Windows Python.
"""

from __future__ import annotations

import marshal
import struct
from typing import Any, Final

MAX_FRAME: Final = 1 << 30
HEADER: Final = struct.Struct("!L")
# The oldest format with binary floats: every Python that can run either end reads it.
_FORMAT: Final = 2

READY: Final = "ready"
FAILED: Final = "failed"

_EXCEPTIONS: Final[dict[str, type[Exception]]] = {
    kind.__name__: kind for kind in (TypeError, SystemError, ValueError, OverflowError, AttributeError)
}


class WireError(Exception):
    """Bytes that are no frame, or a frame that is no message."""


def pack(message: tuple[Any, ...]) -> bytes:
    """A frame. Raises WireError if the message is too large or has values that the codec did not encode."""
    try:
        body = marshal.dumps(message, _FORMAT)
    except ValueError as error:
        raise WireError("a value cannot cross the pipe") from error
    if len(body) > MAX_FRAME:
        raise WireError("the message is too large")
    return HEADER.pack(len(body)) + body


def body_length(header: bytes | bytearray) -> int:
    """Length of the body after a header. Raises WireError above the cap, before anything is read."""
    (length,) = HEADER.unpack(header)
    if not 0 < length <= MAX_FRAME:
        raise WireError("not a frame")
    return int(length)


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
