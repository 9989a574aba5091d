"""How the terminal is, in one answer: what its node's agent asks every second, for a hundred terminals at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

END_OF_TIME: Final = 2**31 - 1
"""The latest date the package takes, since broker time may be ahead of ours by any amount."""
_WATCHED_SYMBOLS: Final = 8
_SYMBOLS_SECONDS: Final = 60.0
_ACCOUNT: Final = (
    "login",
    "server",
    "currency",
    "balance",
    "credit",
    "profit",
    "equity",
    "margin",
    "margin_free",
)

Ask = Callable[..., Any]
"""`ask(function, *args)` of the terminal. Raises RefusedError when it is not there."""


class Pulse:
    """On the terminal's thread only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._symbols: tuple[str, ...] = ()
        self._chosen_at = 0.0

    def take(self, ask: Ask, deals_from: int) -> dict[str, Any]:
        """Ready for JSON. `deals` counts the account's deals since `deals_from`, broker wall clock in seconds.

        `account` is None until the terminal knows one. `newest_msc` is the time of the newest quote, broker wall clock
        in milliseconds, 0 before the first. Counts are None when the terminal did not say.
        """
        account, terminal = ask("account_info"), ask("terminal_info")
        # Before the broker has answered, a terminal shows no account or one without a login.
        if terminal is None or account is None or account.login == 0:
            return {"terminal": terminal is not None, "account": None}
        return {
            "terminal": True,
            "account": {name: getattr(account, name) for name in _ACCOUNT},
            "connected": bool(terminal.connected),
            "trade_allowed": bool(terminal.trade_allowed and account.trade_allowed and account.trade_expert),
            "build": terminal.build,
            "positions": ask("positions_total"),
            "orders": ask("orders_total"),
            "deals": ask("history_deals_total", deals_from, END_OF_TIME),
            "newest_msc": self._newest(ask),
        }

    def _newest(self, ask: Ask) -> int:
        """A few symbols of Market Watch stand for all; a full scan every second would be heavy."""
        now = self._clock()
        if not self._symbols or now - self._chosen_at > _SYMBOLS_SECONDS:
            selected = [symbol.name for symbol in ask("symbols_get") or () if symbol.select]
            self._symbols, self._chosen_at = tuple(selected[:_WATCHED_SYMBOLS]), now
        ticks = [ask("symbol_info_tick", symbol) for symbol in self._symbols]
        return max((tick.time_msc for tick in ticks if tick is not None), default=0)
