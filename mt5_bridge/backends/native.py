"""The official MetaTrader5 package, passed through exactly. The only place that imports it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any


class NativeBackend:
    """Link to a real terminal on this machine.

    Options: `path` (terminal64.exe), `portable` (bool), `timeout` (ms to wait for the account). Credentials never pass
    through here: the supervisor that starts the terminal has given them to it.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._mt5: Any = importlib.import_module("MetaTrader5")
        path = options.get("path")
        self._path: tuple[str, ...] = (path,) if isinstance(path, str) else ()
        self._start = {name: options[name] for name in ("portable", "timeout") if name in options}

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if function == "initialize" and not args:
            return self._mt5.initialize(*self._path, **{**self._start, **kwargs})
        return getattr(self._mt5, function)(*args, **kwargs)

    def last_error(self) -> tuple[int, str]:
        code, text = self._mt5.last_error()
        return int(code), str(text)

    def close(self) -> None:
        self._mt5.shutdown()
