"""The trade requests that the control plane sends, as dictionaries of the official API."""

from __future__ import annotations

from typing import Any

from control_plane.access.market import SymbolSpec
from control_plane.trading.state import OrderType, Side
from control_plane.trading.validation import LIFETIMES, NO_QUOTE, Levels, Proposal, Quote, filling_for
from mt5_bridge.contract import CONSTANTS

DEVIATION_POINTS = 20
"""How far the price may move between quote and execution where it executes instantly, unless the caller says."""


def opening(spec: SymbolSpec, wish: Proposal, quote: Quote, deviation: int | None, comment: str) -> dict[str, Any]:
    """A market or a pending order; without a quote for those that `needs_quote` says need none."""
    request = _at_market(spec, wish.side, wish.volume, quote, deviation)
    if wish.type is not OrderType.MARKET or quote is NO_QUOTE:
        del request["deviation"], request["price"]
    if wish.type is not OrderType.MARKET:
        request |= {
            "type_filling": CONSTANTS["ORDER_FILLING_RETURN"],
            "action": CONSTANTS["TRADE_ACTION_PENDING"],
            "type": CONSTANTS[f"ORDER_TYPE_{wish.side.name}_{wish.type.name}"],
            **_waiting(wish.levels),
        }
    request |= _stops(wish.levels)
    return request | ({"comment": comment} if comment else {})


def closing(
    spec: SymbolSpec, position: Any, side: Side, volume: float, quote: Quote, deviation: int | None
) -> dict[str, Any]:
    """`side` is that of the closing order, the opposite of the position's."""
    request = _at_market(spec, side, volume, quote, deviation)
    return request | {"position": position.ticket, "magic": position.magic}


def closing_by(position: Any, other: Any) -> dict[str, Any]:
    return {
        "action": CONSTANTS["TRADE_ACTION_CLOSE_BY"],
        "symbol": position.symbol,
        "position": position.ticket,
        "position_by": other.ticket,
    }


def new_stops(position: Any, stop_loss: float, take_profit: float) -> dict[str, Any]:
    """0 takes a stop away."""
    return {
        "action": CONSTANTS["TRADE_ACTION_SLTP"],
        "symbol": position.symbol,
        "position": position.ticket,
        "sl": stop_loss,
        "tp": take_profit,
    }


def change(order: Any, levels: Levels) -> dict[str, Any]:
    """A pending order as it shall be from now on."""
    return {
        "action": CONSTANTS["TRADE_ACTION_MODIFY"],
        "order": order.ticket,
        "symbol": order.symbol,
        "type": order.type,
        "volume": order.volume_current,
        "type_filling": order.type_filling,
        "sl": levels.stop_loss,
        "tp": levels.take_profit,
        **_waiting(levels),
    }


def removal(order: Any) -> dict[str, Any]:
    return {"action": CONSTANTS["TRADE_ACTION_REMOVE"], "order": order.ticket, "symbol": order.symbol}


def _at_market(spec: SymbolSpec, side: Side, volume: float, quote: Quote, deviation: int | None) -> dict[str, Any]:
    filling = filling_for(spec, OrderType.MARKET)
    return {
        "action": CONSTANTS["TRADE_ACTION_DEAL"],
        "symbol": spec.name,
        "volume": volume,
        "type": CONSTANTS["ORDER_TYPE_BUY" if side is Side.BUY else "ORDER_TYPE_SELL"],
        "price": quote.to_fill(side),
        "deviation": DEVIATION_POINTS if deviation is None else deviation,
        "type_time": CONSTANTS["ORDER_TIME_GTC"],
        "type_filling": CONSTANTS["ORDER_FILLING_RETURN"] if filling is None else filling,
    }


def _waiting(levels: Levels) -> dict[str, Any]:
    request: dict[str, Any] = {"price": levels.price, "type_time": LIFETIMES[levels.expiration]}
    if levels.stop_limit_price:
        request["stoplimit"] = levels.stop_limit_price
    if levels.expires_broker_time:
        request["expiration"] = levels.expires_broker_time
    return request


def _stops(levels: Levels) -> dict[str, Any]:
    stops = {"sl": levels.stop_loss, "tp": levels.take_profit}
    return {name: level for name, level in stops.items() if level}
