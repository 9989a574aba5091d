"""A stand-in for the official module, so that `import MetaTrader5 as mt5` reaches a terminal of the farm."""

from __future__ import annotations

import sys
from types import ModuleType

from mt5_bridge.client.terminal import MetaTrader5
from mt5_bridge.contract import CONSTANTS, FUNCTIONS, PACKAGE_AUTHOR, PACKAGE_VERSION
from mt5_bridge.structs import STRUCT_CLASSES

NAME = "MetaTrader5"


def make_module(terminal: MetaTrader5) -> ModuleType:
    """A module with the official one's functions, constants and structs, bound to one terminal."""
    module = ModuleType(NAME, "The official API, served by a terminal of the farm.")
    members: dict[str, object] = {name: getattr(terminal, name) for name in FUNCTIONS}
    members |= CONSTANTS
    members |= STRUCT_CLASSES
    members |= {"__version__": PACKAGE_VERSION, "__author__": PACKAGE_AUTHOR}
    vars(module).update(members)
    return module


def install(terminal: MetaTrader5) -> None:
    """Make `import MetaTrader5` give the stand-in in this process."""
    sys.modules[NAME] = make_module(terminal)
