"""The official MetaTrader5 package, run in a host process of its own and passed through exactly.

A call of the package cannot be interrupted, and some ignore their time-out: `initialize` waits 100 s for a program
that never answers. So each call has a deadline here. When it passes, the host is killed, the answer is what the package
gives when a link times out or breaks, and the next call starts another host. The terminal goes on running.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mt5_bridge.arguments import unconnected
from mt5_bridge.backends.host_process import Data, HostLostError, HostProcess, HostTimeoutError
from mt5_bridge.backends.native_wire import READY, WireError, rebuild, rows
from mt5_bridge.codec import CodecError, decode, encode
from mt5_bridge.contract import FUNCTIONS, Style

log = logging.getLogger(__name__)

Error = tuple[int, str]

HOST: Final = (sys.executable, "-m", "mt5_bridge.native_host")
DEFAULT_TIMEOUT_MS: Final = 60_000
START_SECONDS: Final = 60.0
"""The first program in a Wine prefix waits for Wine's own services."""
_RESTART_SECONDS: Final = 20.0
_GRACE_SECONDS: Final = 5.0
_MARGIN_SECONDS: Final = 2.0
_NOTHING_YET: Final = (0, "")
_RECEIVE_FAILED: Final = (-10002, "IPC recv failed")
_NO_CONNECTION: Final = (-10004, "No IPC connection")
_TIMEOUT: Final = (-10005, "IPC timeout")
_SILENT: Final = (-10003, "IPC initialize failed, Pipe server didn't answer in time")
"""What the package says of a terminal that never answers, only that it takes 100 s to say it. -10005 would be another
matter: a terminal that answers and has not finished logging in.
"""
_LATE: Final = {"initialize": _SILENT, "login": _TIMEOUT}
"""What a call that did not come back says, where it has a time-out of its own."""


@dataclass(frozen=True)
class NativeOptions:
    """The worker's `backend_options`.

    `command` starts the host, for example ["/usr/lib/wine/wine64", "/opt/python/python.exe", "-m",
    "mt5_bridge.native_host"]; by default this Python, which must be Windows' own then. `environment` is added to the
    host's. `path` (terminal64.exe, as Windows names it), `portable` and `timeout` (ms) are for `initialize`, which
    starts that program itself when it does not run: the supervisor starts it before. Credentials are not here, it has
    given them to the terminal.
    """

    command: tuple[str, ...] = HOST
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    portable: bool | None = None
    timeout: int | None = None

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> NativeOptions:
        """Check what the configuration says. Raises ValueError."""
        known: dict[str, type] = {"command": list, "environment": dict, "path": str, "portable": bool, "timeout": int}
        for name, value in options.items():
            if name not in known:
                raise ValueError(f"the native backend has no option {name!r}")
            if not isinstance(value, known[name]) or isinstance(value, bool) is not (known[name] is bool):
                raise ValueError(f"the option {name!r} of the native backend must be a {known[name].__name__}")
        command, environment = options.get("command", HOST), options.get("environment", {})
        if not command or not all(isinstance(text, str) for text in (*command, *environment, *environment.values())):
            raise ValueError("command and environment of the native backend must hold texts")
        return cls(**{**options, "command": tuple(command)})

    @property
    def start(self) -> dict[str, Any]:
        """Keywords that `initialize` gets when the caller has not given them."""
        given = {"path": self.path, "portable": self.portable, "timeout": self.timeout}
        return {name: value for name, value in given.items() if value is not None}


class NativeBackend:
    """Link to a real terminal on this machine. Used from one thread only."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Start the host. Raises ValueError for bad options, ImportError when the host cannot run the package."""
        self._options = NativeOptions.parse(options)
        self._error: Error = _NOTHING_YET
        self._host: HostProcess | None = self._start(START_SECONDS)

    @property
    def host_pid(self) -> int | None:
        """The host process that runs now."""
        return None if self._host is None else self._host.pid

    def last_error(self) -> Error:
        """Code and text of the latest call."""
        return self._error

    def close(self) -> None:
        """Give up the link and end the host. The terminal goes on running."""
        if self._host is not None:
            self._host.close()
            self._host = None

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call a function of the package. Raises what it raises; KeyError for no such function, CodecError for values
        that cannot cross the pipe.
        """
        if FUNCTIONS[function].style is Style.PYTHON:
            raise KeyError(function)
        if function == "last_error" and not args and not kwargs:
            return self._error  # the host may be another one than the latest call's
        if function == "initialize" and not args:
            kwargs = {**self._options.start, **kwargs}
        request = (
            function,
            tuple(encode(value) for value in args),
            tuple((name, encode(value)) for name, value in kwargs.items()),
        )
        try:
            host = self._host = self._host or self._start(_RESTART_SECONDS)
        except ImportError as error:
            log.error("no host for the official package: %s", error)  # noqa: TRY400 - it says where it comes from
            return self._failed(function, _NO_CONNECTION)
        try:
            return self._read(*host.ask(request, seconds(function, kwargs)))
        except HostTimeoutError:
            log.critical("%s did not come back; its host process was killed", function)
            return self._failed(function, _LATE.get(function, _RECEIVE_FAILED))
        except HostLostError as error:
            log.error("the host process is lost during %s: %s", function, error)  # noqa: TRY400 - no news in the trace
            return self._failed(function, _RECEIVE_FAILED)

    def _read(self, answer: tuple[Any, ...], tail: Data) -> Any:
        try:
            match answer:
                case ("ok", payload, int(code), str(text)):
                    value = decode(payload)
                    self._error = (code, text)
                    return value
                case ("array", str(key), int(code), str(text)):
                    array = rows(key, tail)
                    self._error = (code, text)
                    return array
                case ("raise", (str(), str(), str(), str()) as described, int(code), str(text)):
                    self._error = (code, text)
                    raise rebuild(described)
        except (CodecError, WireError) as error:
            raise HostLostError("the process does not speak the protocol") from error
        raise HostLostError("the process does not speak the protocol")

    def _failed(self, function: str, error: Error) -> Any:
        """What the package answers without its link; the next call makes another host."""
        if self._host is not None:
            self._host.kill()
            self._host = None
        self._error = error
        return False if function == "initialize" else unconnected(function)[0]

    def _start(self, within: float) -> HostProcess:
        try:
            host = HostProcess(self._options.command, self._options.environment)
        except OSError as error:
            raise ImportError(f"{self._options.command[0]} cannot be started: {error.strerror}") from error
        try:
            greeting, _ = host.receive(within)
        except (HostLostError, HostTimeoutError) as error:
            reason = host.last_words or str(error) or "no answer in time"
            raise ImportError(f"the host process has not started: {reason}") from error
        if greeting[0] != READY:
            host.close()
            raise ImportError(str(greeting[-1]))
        log.info("host process %d runs MetaTrader5 %s", host.pid, greeting[-1])
        return host


def seconds(function: str, kwargs: Mapping[str, Any]) -> float:
    """How long a call may take before its host is killed.

    A little less than the contract says, which is when the worker would give up itself. `initialize` and `login` have
    their own time-out, which the package does not always keep.
    """
    longest = FUNCTIONS[function].deadline - _MARGIN_SECONDS
    if function not in _LATE:
        return longest
    timeout = kwargs.get("timeout", DEFAULT_TIMEOUT_MS)
    return min(longest, timeout / 1000 + _GRACE_SECONDS) if type(timeout) is int and timeout >= 0 else longest
