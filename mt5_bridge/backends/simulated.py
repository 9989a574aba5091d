"""The official package as a simulated terminal answers it: same values, same errors (rules B1-B19)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt5_bridge import codec
from mt5_bridge.arguments import RejectedError, left_by, parse, unconnected
from mt5_bridge.simulated.installations import PROGRAM, Installations
from mt5_bridge.simulated.link import Frames, LinkError, RemoteError, SendError, connect, opened, unwrapped

SUCCESS = (1, "Success")
NOTHING_YET = (0, "")
NO_TERMINAL = (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")
SEND_FAILED = (-10001, "IPC send failed")
RECEIVE_FAILED = (-10002, "IPC recv failed")
FOREIGN_ANSWER = (-10000, "IPC call failed")
DEFAULT_TIMEOUT_MS = 60_000
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
# Calls that give False and not None when the terminal says no.
_FALSE = frozenset({"initialize", "login", "symbol_select", "market_book_add", "market_book_release"})


class _ForeignAnswerError(LinkError):
    """An answer that does not belong to the request."""


class SimulatedBackend:
    """One link to the terminal at `ipc` (`unix:/path` or `host:port`), or to one of several installations.

    Used from one thread only.

    `call` and `last_error` behave as the functions of the official package in a process of their own.
    """

    def __init__(self, ipc: str | Installations) -> None:
        self._ipc = ipc
        self._frames: Frames | None = None
        self._number = 0
        self._error = NOTHING_YET

    def last_error(self) -> tuple[int, str]:
        """Code and text of the latest call."""
        return self._error

    def close(self) -> None:
        """Drop the link; the terminal goes on running."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call a function of the package. Raises TypeError, SystemError as it does; KeyError for no such function."""
        if function == "last_error":
            parse(function, args, kwargs)
            return self._error
        # A TypeError is the interpreter's: the function has not begun, and last_error() stays as it was.
        try:
            plain, named = parse(function, args, kwargs)
        except RejectedError as rejected:
            self._error = rejected.error
            return rejected.value
        except SystemError as error:
            alone = NO_TERMINAL if function == "initialize" else unconnected(function)[1]
            self._error = left_by(error, SUCCESS if self._frames is not None else alone)
            raise
        self._error = SUCCESS  # B2
        if function == "initialize":
            return self._initialize(plain, named)
        if function == "shutdown":
            self.close()
            return True
        return self._linked(function, plain, named)

    def _linked(self, function: str, plain: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        if self._frames is None:
            value, self._error = unconnected(function)
            return value
        try:
            if function == "login":
                timeout = named.get("timeout", DEFAULT_TIMEOUT_MS)
                return self._ask("login", plain[0], named.get("password"), named.get("server"), timeout, wait=timeout)
            return unwrapped(self._ask("call", function, codec.encode(plain), codec.encode(named)))
        except RemoteError as error:
            return self._failed(function, (error.code, error.text))
        except LinkError as error:
            # The link stays given up until the next initialize (B16).
            return self._failed(function, _link_trouble(error))

    def _failed(self, function: str, error: tuple[int, str]) -> Any:
        self._error = error
        if function in _FALSE:
            return False
        return (0, 0, "") if function == "version" else None

    def _initialize(self, plain: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
        self.close()
        given = named.get("path", plain[0] if plain else "")
        path = given.partition("\0")[0] or None  # a C string
        timeout = named.get("timeout", DEFAULT_TIMEOUT_MS)
        try:
            address = self._ipc if isinstance(self._ipc, str) else self._ipc.address(path)
            if address is None:
                raise FileNotFoundError("no such terminal")
            frames = Frames(connect(address, _CONNECT_SECONDS))
        except (OSError, ValueError):
            self._error = NO_TERMINAL if path is None else _not_started(path)
            return False
        self._frames = frames
        try:
            if path is not None and not self._is_here(path):
                self._error = _not_started(path)
                self.close()
                return False
            account = (named.get("login", 0), named.get("password"), named.get("server"))
            self._ask("initialize", *account, timeout, wait=timeout)
        except RemoteError as error:
            self.close()
            self._error = (error.code, error.text)
            return False
        except LinkError:
            self.close()
            self._error = RECEIVE_FAILED
            return False
        return True

    def _is_here(self, path: str) -> bool:
        """Whether the path names this terminal's folder or program, or the link itself."""
        folder = Path(str(self._ask("place")))
        return path == self._ipc or Path(path) in (folder, folder / PROGRAM)

    def _ask(self, verb: str, *arguments: Any, wait: int = 0) -> Any:
        frames = self._frames
        if frames is None:
            raise LinkError("no link")
        self._number += 1
        frames.set_timeout(_ANSWER_SECONDS + wait / 1000)
        frames.send((self._number, verb, arguments))
        answer = frames.receive()
        if answer[0] != self._number:
            raise _ForeignAnswerError("the answer belongs to another request")
        return opened(answer)


def _link_trouble(error: LinkError) -> tuple[int, str]:
    if isinstance(error, SendError):
        return SEND_FAILED
    return FOREIGN_ANSWER if isinstance(error, _ForeignAnswerError) else RECEIVE_FAILED


def _not_started(path: str) -> tuple[int, str]:
    told = "".join(_in_code_page(letter) or "\0" for letter in path)
    text = "" if "\0" in told else f"Process create failed '{told}'"  # one letter too many spoils the whole text
    return -10003, f"IPC initialize failed, {text}"


def _in_code_page(letter: str) -> str:
    """A letter in the code page 1252, which the package's texts are made in: itself, one that it is like, or ''."""
    for near in (letter, unicodedata.normalize("NFKD", letter)[0]):
        if near.encode("cp1252", "ignore"):
            return near
    return ""
