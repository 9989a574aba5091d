"""Refusals of the bridge told in the package's own terms, for scripts that know nothing of a bridge."""

from __future__ import annotations

from typing import Any, Final

from mt5_bridge.arguments import failure_value, unconnected
from mt5_bridge.contract import CONSTANTS
from mt5_bridge.journal import unexecuted

LOST: Final = (-10002, "IPC recv failed")
_TIMEOUT: Final = (-10005, "IPC timeout")
_UNSUPPORTED: Final = (-7, "Terminal: Unsupported function")

_RETCODES: Final = {
    "read_only_ticket": CONSTANTS["TRADE_RETCODE_TRADE_DISABLED"],
    "guard_symbol": CONSTANTS["TRADE_RETCODE_TRADE_DISABLED"],
    "guard_trading": CONSTANTS["TRADE_RETCODE_CLIENT_DISABLES_AT"],
    "guard_volume": CONSTANTS["TRADE_RETCODE_LIMIT_VOLUME"],
    "bot_paused": CONSTANTS["TRADE_RETCODE_CLIENT_DISABLES_AT"],
    "bot_paper": CONSTANTS["TRADE_RETCODE_CLIENT_DISABLES_AT"],
    "bot_not_its_own": CONSTANTS["TRADE_RETCODE_TRADE_DISABLED"],
    "bot_pace": CONSTANTS["TRADE_RETCODE_TOO_MANY_REQUESTS"],
    "bot_unknown": CONSTANTS["TRADE_RETCODE_TOO_MANY_REQUESTS"],
    "busy": CONSTANTS["TRADE_RETCODE_TOO_MANY_REQUESTS"],
    "deadline": CONSTANTS["TRADE_RETCODE_TOO_MANY_REQUESTS"],
    "id_conflict": CONSTANTS["TRADE_RETCODE_INVALID"],
}


def refused(function: str, code: str, args: tuple[Any, ...]) -> tuple[Any, tuple[int, str]]:
    """Value and last_error() for a call that the bridge refused with `code`.

    A trade that a limit refused is a struct with a return code (I6), everything else an error value.
    """
    if function == "order_send" and code in _RETCODES:
        return unexecuted(_RETCODES[code], args[0] if args else {}), (1, "Success")
    if code in {"busy", "deadline"}:
        return failure_value(function), _TIMEOUT
    if code == "not_allowed":
        return failure_value(function), _UNSUPPORTED
    return unconnected(function)


def lost(function: str) -> tuple[Any, tuple[int, str]]:
    """Value and last_error() for a call during which the link broke (B16)."""
    return unconnected(function)[0], LOST
