"""The trade requests that the control plane sends, as dictionaries of the official API."""

from __future__ import annotations

from typing import Any

from control_plane.access.market import SymbolSpec
from control_plane.access.service import not_ready
from control_plane.trading.schemas import PlaceOrder
from control_plane.trading.state import Side
from mt5_bridge.contract import CONSTANTS

_FILLING_FOK_ALLOWED = 1
_FILLING_IOC_ALLOWED = 2
_DEVIATION_POINTS = 20
"""How far the price may move between quote and execution where the broker executes instantly."""


def market_price(tick: Any, side: Side) -> float:
    """The price an order at the market would get now. Raises ConflictError while there is no quote."""
    price = 0.0 if tick is None else float(tick.ask if side is Side.BUY else tick.bid)
    if price <= 0:
        raise not_ready("There is no price for this symbol yet; please try again.")
    return price


def open_position(spec: SymbolSpec, wish: PlaceOrder, price: float) -> dict[str, Any]:
    request = _deal(spec, wish.side, wish.volume, price)
    if wish.stop_loss is not None:
        request["sl"] = wish.stop_loss
    if wish.take_profit is not None:
        request["tp"] = wish.take_profit
    if wish.comment:
        request["comment"] = wish.comment
    return request


def close_position(spec: SymbolSpec, position: Any, side: Side, volume: float, price: float) -> dict[str, Any]:
    """`side` is that of the closing order, the opposite of the position's."""
    return _deal(spec, side, volume, price) | {"position": position.ticket, "magic": position.magic}


def move_stops(position: Any, stop_loss: float, take_profit: float) -> dict[str, Any]:
    """0 takes a stop away."""
    return {
        "action": CONSTANTS["TRADE_ACTION_SLTP"],
        "symbol": position.symbol,
        "position": position.ticket,
        "sl": stop_loss,
        "tp": take_profit,
        "magic": position.magic,
    }


def _deal(spec: SymbolSpec, side: Side, volume: float, price: float) -> dict[str, Any]:
    return {
        "action": CONSTANTS["TRADE_ACTION_DEAL"],
        "symbol": spec.name,
        "volume": volume,
        "type": CONSTANTS["ORDER_TYPE_BUY" if side is Side.BUY else "ORDER_TYPE_SELL"],
        "price": price,
        "deviation": _DEVIATION_POINTS,
        "type_time": CONSTANTS["ORDER_TIME_GTC"],
        "type_filling": _filling(spec.filling_mode),
    }


def _filling(modes: int) -> int:
    if modes & _FILLING_FOK_ALLOWED:
        return CONSTANTS["ORDER_FILLING_FOK"]
    if modes & _FILLING_IOC_ALLOWED:
        return CONSTANTS["ORDER_FILLING_IOC"]
    return CONSTANTS["ORDER_FILLING_RETURN"]
