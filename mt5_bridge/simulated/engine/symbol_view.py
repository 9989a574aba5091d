"""SymbolInfo and depth of market from specification, series and quotes (sections D, G)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mt5_bridge.contract import STRUCTS
from mt5_bridge.simulated.engine.execution import lots
from mt5_bridge.simulated.engine.model import Kind, Order
from mt5_bridge.simulated.engine.money import Valuation
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.symbols import SymbolSpec
from mt5_bridge.structs import BookInfo, Struct, SymbolInfo, Tick

_ZERO: Mapping[type, Any] = {bool: False, int: 0, float: 0.0, str: ""}
_BLANK = {name: _ZERO[kind] for name, kind in STRUCTS["SymbolInfo"]}
_SELL, _BUY, _SELL_MARKET, _BUY_MARKET = 1, 2, 3, 4


def symbol_info(
    spec: SymbolSpec, series: Series, valuation: Valuation, currency: str, now: int, *, selected: bool, visible: bool
) -> Struct:
    """SymbolInfo for an account in `currency` at the broker time `now` (s).

    Last and volume fields are 0 where nothing is traded on an exchange.
    """
    fields = _BLANK | _specified(spec) | {"trade_accrued_interest": spec.accrued_at(now)}
    fields |= {
        "select": selected,
        "visible": visible,
        "trade_tick_value": valuation.tick_value(currency, spec, profit=True),
        "trade_tick_value_profit": valuation.tick_value(currency, spec, profit=True),
        "trade_tick_value_loss": valuation.tick_value(currency, spec, profit=False),
    }
    tick, day = series.last_tick, series.day
    if selected and tick is not None and day is not None:  # no quotes come for what is not selected (rule D6)
        bid, ask = float(tick["bid"]), float(tick["ask"])
        fields |= {
            "time": int(tick["time"]),
            "bid": bid,
            "ask": ask,
            "spread": round((ask - bid) / spec.point),
            "bidhigh": day.bid_high,
            "bidlow": day.bid_low,
            "askhigh": day.ask_high,
            "asklow": day.ask_low,
            "session_open": day.open,
            "price_change": round((bid - day.open) / day.open * 100.0, 4),
            "last": float(tick["last"]),
            "lasthigh": day.last_high,
            "lastlow": day.last_low,
            "volume": int(tick["volume"]),
            "volume_real": float(tick["volume_real"]),
        }
    return SymbolInfo(fields.values())


def _specified(spec: SymbolSpec) -> dict[str, Any]:
    return {
        "digits": spec.digits,
        "spread_float": True,
        "ticks_bookdepth": spec.book_depth,
        "trade_calc_mode": spec.calc_mode,
        "trade_mode": spec.trade_mode,
        "trade_stops_level": spec.stops_level,
        "trade_freeze_level": spec.freeze_level,
        "trade_exemode": spec.execution,
        "swap_mode": spec.swap_mode,
        "swap_long": spec.swap_long,
        "swap_short": spec.swap_short,
        "swap_rollover3days": spec.swap_rollover3days,
        "chart_mode": spec.chart_mode,
        "order_gtc_mode": spec.order_gtc_mode,
        "option_mode": spec.option_mode,
        "option_right": spec.option_right,
        "option_strike": spec.option_strike,
        "trade_face_value": spec.face_value,
        "margin_hedged_use_leg": spec.margin_hedged_use_leg,
        "expiration_mode": spec.expiration_mode,
        "filling_mode": spec.filling_mode,
        "order_mode": spec.order_mode,
        "point": spec.point,
        "trade_tick_size": spec.tick_size,
        "trade_contract_size": spec.contract_size,
        "volume_min": spec.volume_min,
        "volume_max": spec.volume_max,
        "volume_step": spec.volume_step,
        "volume_limit": spec.volume_limit,
        "margin_initial": spec.margin_initial,
        "margin_maintenance": spec.margin_maintenance,
        "margin_hedged": spec.hedged,
        "currency_base": spec.currency_base,
        "currency_profit": spec.currency_profit,
        "currency_margin": spec.currency_margin,
        "description": spec.description,
        "name": spec.name,
        "path": spec.path,
    }


def tick(series: Series) -> Struct | None:
    """The newest tick, None before the first."""
    row = series.last_tick
    return None if row is None else Tick(row.item())


def depth(spec: SymbolSpec, series: Series, orders: Iterable[Order]) -> tuple[Struct, ...]:
    """A made-up book around the quotes: each level one spread further, with growing volume (rule G2).

    Market orders among `orders`, which wait for what the market has not yet taken, are in it at the best price.
    """
    row = series.last_tick
    if row is None or not spec.book_depth:
        return ()
    bid, ask = float(row["bid"]), float(row["ask"])
    step = max(spec.point, spec.price(abs(ask - bid)))
    levels = range(spec.book_depth)
    sells = [
        BookInfo((_SELL, spec.price(ask + level * step), level + 1, float(level + 1))) for level in reversed(levels)
    ]
    buys = [BookInfo((_BUY, spec.price(bid - level * step), level + 1, float(level + 1))) for level in levels]
    waiting = [one for one in orders if one.kind in (Kind.BUY, Kind.SELL)]
    return (*sells, *_at_market(waiting, Kind.SELL, ask), *_at_market(waiting, Kind.BUY, bid), *buys)


def _at_market(waiting: list[Order], kind: Kind, price: float) -> list[Struct]:
    volume = lots(sum(one.volume for one in waiting if one.kind is kind))
    book_type = _BUY_MARKET if kind is Kind.BUY else _SELL_MARKET
    return [BookInfo((book_type, price, round(volume), volume))] if volume else []
