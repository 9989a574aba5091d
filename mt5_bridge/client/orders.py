"""Buy, Sell and Close: the three functions that the package writes in Python over the others (A15, A16)."""

from __future__ import annotations

from typing import Any, Final, Protocol

from mt5_bridge.contract import CONSTANTS

_BUY, _SELL = CONSTANTS["ORDER_TYPE_BUY"], CONSTANTS["ORDER_TYPE_SELL"]
_DONE = CONSTANTS["TRADE_RETCODE_DONE"]
_AGAIN: Final = frozenset({CONSTANTS["TRADE_RETCODE_REQUOTE"], CONSTANTS["TRADE_RETCODE_PRICE_OFF"]})
_ATTEMPTS: Final = 10
_DEVIATION: Final = 10


class Api(Protocol):
    """The functions that these three need."""

    def symbol_info_tick(self, *args: Any, **kwargs: Any) -> Any: ...
    def positions_get(self, *args: Any, **kwargs: Any) -> Any: ...
    def order_send(self, *args: Any, **kwargs: Any) -> Any: ...


def deal(api: Api, side: int, symbol: Any, volume: Any, price: Any, comment: Any, ticket: Any) -> Any:
    """A market deal; without a price at the current one, tried again while the broker wants another price.

    AttributeError when there is no tick, as in the package.
    """
    if price is not None:
        return _send(api, side, symbol, volume, price, comment, ticket)
    result = None
    for _ in range(_ATTEMPTS):
        tick = api.symbol_info_tick(symbol)
        result = _send(api, side, symbol, volume, tick.ask if side == _BUY else tick.bid, comment, ticket)
        if result is None or result.retcode not in _AGAIN:
            break
    return result


def close(api: Api, symbol: Any, comment: Any, ticket: Any) -> bool | str | None:
    """Close the positions of a symbol, or the one with a ticket: True, 'Partially', False, or None on an error."""
    positions = api.positions_get(symbol=symbol) if ticket is None else api.positions_get(ticket=ticket)
    closed = 0
    for position in positions:
        result = _close_one(api, symbol, position, comment)
        if result is None:
            return None
        closed += result.retcode == _DONE
    if not closed:
        return False
    return True if closed == len(positions) else "Partially"


def _close_one(api: Api, symbol: Any, position: Any, comment: Any) -> Any:
    side = _SELL if position.type == _BUY else _BUY
    result = None
    for _ in range(_ATTEMPTS):
        tick = api.symbol_info_tick(symbol)
        if tick is None:
            return None
        price = tick.ask if side == _BUY else tick.bid
        result = _send(api, side, symbol, position.volume, price, comment, position.ticket)
        if result is None or result.retcode not in _AGAIN:
            break
    return result


def _send(api: Api, side: int, symbol: Any, volume: Any, price: Any, comment: Any, ticket: Any) -> Any:
    request = {
        "action": CONSTANTS["TRADE_ACTION_DEAL"],
        "symbol": symbol,
        "volume": volume,
        "type": side,
        "price": price,
        "deviation": _DEVIATION,
    }
    if comment is not None:
        request["comment"] = comment
    if ticket is not None:
        request["position"] = ticket
    return api.order_send(request)
