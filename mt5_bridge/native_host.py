"""The process that runs the official package: `python -m mt5_bridge.native_host`, on Windows or in Wine's Python.

The package holds the interpreter for as long as a call takes, so nothing else lives here. Requests come on standard
input and answers go to standard output (`backends/native_wire.py`); the worker on the other end has the sockets, the
deadlines, and ends this process when a call does not come back. Needs the standard library, numpy and MetaTrader5.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, BinaryIO, Final

import numpy as np

from mt5_bridge.backends.native_wire import FAILED, HEADER, READY, array_key, describe, lengths, pack, unpack
from mt5_bridge.codec import decode, encode
from mt5_bridge.contract import FUNCTIONS, Style

_PROCESS_NOT_STARTED: Final = -10003


def serve(requests: BinaryIO, answers: BinaryIO, package: Any) -> None:
    """Answer requests until the other end closes. Raises WireError for bytes that are none."""
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        body, _ = lengths(header)
        answer, tail = _answer(package, unpack(requests.read(body)))
        answers.write(pack(answer, len(tail)))
        if len(tail):
            answers.write(tail)
        answers.flush()


def _answer(package: Any, request: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """The answer, and the bytes of its array."""
    tail: Any = b""
    try:
        value = _call(package, *request)
        key = array_key(value) if isinstance(value, np.ndarray) else None
        if key is None:
            status, payload = "ok", encode(value)
        else:
            status, payload, tail = "array", key, value.view(np.uint8)
    except Exception as error:  # noqa: BLE001 - whatever the package raises is its answer
        status, payload = "raise", describe(error)
    return (status, payload, *_last_error(package)), tail


def _call(package: Any, function: str, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
    if FUNCTIONS[function].style is Style.PYTHON:
        raise KeyError(function)
    plain = tuple(decode(value) for value in args)
    named = {name: decode(value) for name, value in kwargs}
    call = getattr(package, function)
    # The package tells an empty dict of keywords from none: order_send(**{}) is judged otherwise than order_send().
    return call(*plain, **named) if named else call(*plain)


def _last_error(package: Any) -> tuple[int, str]:
    try:
        code, text = package.last_error()  # reading it changes nothing (B1)
    except UnicodeDecodeError as error:
        # The package cannot read its own text when a path of other letters than ASCII is in it, which only this
        # error has.
        return _PROCESS_NOT_STARTED, bytes(error.object).decode(errors="replace")
    return int(code), str(text)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the worker, out of reach of everything else in this process.

    What prints to standard output would break the frames, and a terminal that the package starts would inherit them.
    """
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return requests, answers


def main() -> int:
    """Entry point. Exit code 0 when the worker has closed its end, 2 without the official package."""
    if len(sys.argv) > 1:
        sys.stderr.write("mt5_bridge.native_host takes no arguments; a bridge worker starts it\n")
        return 2
    requests, answers = _take_pipes()
    try:
        package = importlib.import_module("MetaTrader5")
    except ImportError as error:
        answers.write(pack((FAILED, f"the official package cannot be imported: {error}")))
        answers.flush()
        return 2
    answers.write(pack((READY, str(package.__version__))))
    answers.flush()
    serve(requests, answers, package)
    return 0


if __name__ == "__main__":
    sys.exit(main())
