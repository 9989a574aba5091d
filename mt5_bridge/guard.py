"""Limits that the bridge enforces on every trade, whoever sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mt5_bridge.bot_rules import BotRule, parse_bot_rules
from mt5_bridge.contract import CONSTANTS

_DEAL = CONSTANTS["TRADE_ACTION_DEAL"]
_PENDING = CONSTANTS["TRADE_ACTION_PENDING"]
_OPENING = frozenset({_DEAL, _PENDING})


@dataclass(frozen=True)
class Guard:
    """What may be traded. None means no limit. Volumes are lots."""

    symbols: frozenset[str] | None = None
    max_volume: float | None = None
    trading: bool = True
    bots: Mapping[str, BotRule] | None = None
    """Of the terminal's bots by their ids; None where bots are not told apart."""

    def refusal(self, request: Mapping[str, Any], *, reduces: bool) -> tuple[str, str] | None:
        """Why the trade request must not be sent, as (code, safe message), or None.

        `reduces` says that it can only make an existing position smaller. Such requests, changes of stops and removals
        of orders always pass: a limit must never lock a trader into a position.
        """
        unlimited = self.trading and self.symbols is None and self.max_volume is None
        if unlimited or reduces or request.get("action") not in _OPENING:
            return None
        symbol, volume = str(request.get("symbol", "")), float(request.get("volume", 0.0))
        if not self.trading:
            return "guard_trading", "opening trades is switched off for this account"
        if self.symbols is not None and symbol not in self.symbols:
            return "guard_symbol", f"{symbol} may not be traded on this account"
        if self.max_volume is not None and volume > self.max_volume:
            return "guard_volume", f"{volume:g} lots are above the limit of {self.max_volume:g}"
        return None


def parse_guard(data: object) -> Guard:
    """Read a guard from configuration. Raises ValueError."""
    if not isinstance(data, Mapping):
        raise ValueError("guard must be an object")  # noqa: TRY004 - one error for bad configuration
    symbols, volume, trading = data.get("symbols"), data.get("max_volume"), data.get("trading", True)
    if symbols is not None and not (isinstance(symbols, list) and all(isinstance(item, str) for item in symbols)):
        raise ValueError("guard.symbols must be null or a list of texts")
    if volume is not None and (isinstance(volume, bool) or not isinstance(volume, int | float) or not volume > 0):
        raise ValueError("guard.max_volume must be null or a number above 0")
    if not isinstance(trading, bool):
        raise ValueError("guard.trading must be true or false")  # noqa: TRY004 - one error for bad configuration
    return Guard(
        symbols=None if symbols is None else frozenset(symbols),
        max_volume=None if volume is None else float(volume),
        trading=trading,
        bots=parse_bot_rules(data.get("bots")),
    )


def reduces(request: Mapping[str, Any], positions: tuple[Any, ...]) -> bool:
    """Whether a deal can only make one of `positions` smaller: opposite side, same symbol, no more volume."""
    if request.get("action") != _DEAL or not request.get("position"):
        return False
    return any(
        position.ticket == request["position"]
        and position.symbol == request.get("symbol")
        and position.type == 1 - request.get("type", 0)
        and request.get("volume", 0.0) <= position.volume
        for position in positions
    )
