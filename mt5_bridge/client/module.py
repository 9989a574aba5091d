"""A stand-in for the official module, so that `import MetaTrader5 as mt5` reaches a terminal of the farm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from mt5_bridge.client.terminal import MetaTrader5
from mt5_bridge.contract import CONSTANTS, FUNCTIONS, PACKAGE_AUTHOR, PACKAGE_VERSION
from mt5_bridge.structs import STRUCT_CLASSES

NAME = "MetaTrader5"


Open = Callable[[], MetaTrader5]


def make_module(terminal: MetaTrader5, others: Mapping[str, Open] | None = None) -> ModuleType:
    """A module with the official one's functions, constants and structs, bound to one terminal.

    As the official module it has one terminal at a time: `initialize(path)` turns to the one of `others` with that
    name, each of which is opened when it is first wanted and has a connection of its own.
    """
    module = ModuleType(NAME, "The official API, served by a terminal of the farm.")
    chosen = terminal if not others else _Chosen(terminal, others)
    members: dict[str, object] = {name: getattr(chosen, name) for name in FUNCTIONS}
    members |= CONSTANTS
    members |= STRUCT_CLASSES
    members |= {"__version__": PACKAGE_VERSION, "__author__": PACKAGE_AUTHOR}
    vars(module).update(members)
    return module


class _Chosen:
    """The terminal that `initialize(path)` turned to last."""

    def __init__(self, terminal: MetaTrader5, others: Mapping[str, Open]) -> None:
        self._terminal = terminal
        self._opened: dict[str, MetaTrader5] = {}
        self._others = others

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            return getattr(self._terminal, name)(*args, **kwargs)

        function.__name__ = name
        return function

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        path = args[0] if args else kwargs.get("path")
        if isinstance(path, str) and path in self._others:
            if path not in self._opened:
                self._opened[path] = self._others[path]()
            self._terminal = self._opened[path]
        return self._terminal.initialize(*args, **kwargs)


def install(terminal: MetaTrader5, others: Mapping[str, Open] | None = None) -> None:
    """Make `import MetaTrader5` give the stand-in in this process."""
    sys.modules[NAME] = make_module(terminal, others)
