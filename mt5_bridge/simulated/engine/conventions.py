"""What the sources leave open, decided in one place.

Each field names the rule of the behaviour notes that it decides; the defaults are what the notes suggest. A broker
reads other choices from `conventions.json` in its data folder, a terminal from the one in its `config` folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mt5_bridge.simulated.engine.retcodes import Retcode

_ACCEPTED = (Retcode.CHECKED, Retcode.PLACED, Retcode.DONE, Retcode.DONE_PARTIAL)
OPENING_CHECKS = (
    "trade_mode",
    "filling",
    "expiration",
    "volume",
    "price",
    "stops",
    "session",
    "limits",
    "hedge",
    "money",
)


CHOICES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "no_account": ("none", "blank"),
        "fresh_history": ("ready", "missing", "short"),
        "no_volume_retcode": tuple(int(code) for code in Retcode if code not in _ACCEPTED),
        "rest_state": ("canceled", "partial", "filled"),
        "day_end_state": ("expired", "canceled"),
        "reached_without_volume": ("waits", "canceled"),
        "margin_rate_side": ("deal", "other"),
    }
)
"""What the choices are that are neither yes nor no."""


class ConventionsError(Exception):
    """A file of conventions that cannot be used; the text says why."""


@dataclass(frozen=True)
class Conventions:
    """Choices among readings of the documentation. Prices of rates are named `deal` (ask for buys) or `other`."""

    opening_checks: tuple[str, ...] = OPENING_CHECKS
    """L23: the order in which a refusal of an opening request is chosen."""
    no_account: str = "none"
    """B19: account_info() before any account is authorised gives `none` (None, -1) or a `blank` struct."""
    fresh_history: str = "ready"
    """E7: the first bars asked of a symbol since the terminal's start are `ready`, `missing` (None, -1) or `short`."""
    unselect_unselected: bool = True
    """D8: what taking an unselected symbol out of the Market Watch gives."""
    unselected_tick_error: tuple[int, str] = (-4, "Terminal: Not found")
    """D9: last_error() after symbol_info_tick of an unselected symbol."""
    unselected_trade: int = 10021
    """D9: return code of a request to open or place on a symbol that is not selected."""
    bad_timeframe_error: tuple[int, str] = (-2, "Terminal: Invalid params")
    """E9: last_error() after an unknown timeframe number."""
    book_not_added_error: tuple[int, str] = (-1, "Terminal: Call failed")
    """G1: last_error() after market_book_get without market_book_add."""
    python_disabled_retcode: bool = False
    """I5: older terminals answer 10027 where trading from Python is switched off, and not None with -8."""
    margins_of_refused_checks: bool = True
    """J4: an order_check refused for want of money shows the margins that the trade would lead to."""
    order_in_modify_result: bool = True
    """K3: results of MODIFY and REMOVE carry the order's ticket."""
    deal_in_close_by_result: bool = False
    """K4: the result of CLOSE_BY carries the ticket of the first deal."""
    no_volume_retcode: int = int(Retcode.REJECT)
    """M4: the refusal of a market order that the market cannot fill: fill-or-kill in full, IOC at all."""
    rest_state: str = "canceled"
    """M4: the state in the history of an IOC order whose rest has been dropped: `canceled`, `partial` or `filled`."""
    reached_without_volume: str = "waits"
    """M4: a pending order whose price is reached while the market cannot fill it `waits` for the next tick that can,
    or is `canceled`: fill-or-kill in full, IOC at all."""
    day_end_state: str = "expired"
    """M8: the state in the history of GTC orders that the server drops at the end of its day: `expired`, `canceled`."""
    limits_improve: bool = True
    """N3, R8: limit orders and take profits that the market jumps over are filled at its better price, not theirs."""
    stops_slip: bool = True
    """N3, R8: stop orders and stop losses that the market jumps over are filled at its worse price, not theirs."""
    pending_filling_tolerated: bool = False
    """M3: pending orders take any filling policy."""
    filling_free_on_instant: bool = True
    """M2: instant and request execution take any filling policy; if not, only fill-or-kill."""
    specified_day_end: int = 86_399
    """M6: second of the day at which SPECIFIED_DAY orders end; 0 is what the server manual says."""
    stops_in_market_deals: bool = True
    """P2: market execution takes stops in the opening request."""
    pending_outside_session: bool = False
    """Q3: pending orders may be placed while the symbol does not trade."""
    update_time_on_stops: bool = False
    """R10: time_update of a position changes with its stops."""
    margin_rate_side: str = "deal"
    """T5: margin is converted at the ask for buys and the bid for sells (`deal`), or the `other` way round."""
    bad_margin_error: tuple[int, str] = (-2, "Terminal: Invalid params")
    """T9: last_error() after order_calc_* with an action, volume or price that is none."""
    unknown_margin_symbol_error: tuple[int, str] = (-1, "Terminal: Call failed")
    """T9: last_error() after order_calc_* of an unknown symbol."""
    stop_out_at_equal: bool = True
    """V1: margin call and stop out come at the level and not only under it."""
    stop_out_of_hedged: bool = False
    """V4: a fully hedged account without margin is closed at negative equity."""
    compensate_negative_balance: bool = False
    """V6: a negative balance after a stop out is made up by a balance deal."""
    reversed_dates_error: tuple[int, str] | None = None
    """W10: history from a later to an earlier date is empty (None), or this error."""

    @classmethod
    def read(cls, path: Path) -> Conventions:
        """The conventions of a file (a JSON object), the usual ones without it. Raises ConventionsError."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls()
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ConventionsError(f"{path} is not JSON") from error
        known = {one.name for one in fields(cls)}
        if not isinstance(data, dict) or not set(data) <= known:
            raise ConventionsError(f"{path} must be an object with some of: {', '.join(sorted(known))}")
        chosen = cls(**{name: _plain(value) for name, value in data.items()})
        for one in fields(cls):
            value, usual = getattr(chosen, one.name), getattr(USUAL, one.name)
            choices = CHOICES.get(one.name)
            if choices is not None and value not in choices:
                raise ConventionsError(f"{one.name} in {path} must be one of: {', '.join(map(str, choices))}")
            if type(value) is not type(usual) and usual is not None:
                raise ConventionsError(f"{one.name} in {path} must be like {json.dumps(usual)}")
        if sorted(chosen.opening_checks) != sorted(OPENING_CHECKS):
            raise ConventionsError(f"opening_checks in {path} must name each of: {', '.join(OPENING_CHECKS)}")
        return chosen


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


USUAL = Conventions()
