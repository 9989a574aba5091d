"""What a request must satisfy, in the order in which a refusal is chosen (rule L23)."""

from __future__ import annotations

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.conventions import Conventions
from mt5_bridge.simulated.engine.model import (
    FILL_BOC,
    FILL_FOK,
    FILL_RETURN,
    REAL_ACCOUNT,
    TIME_DAY,
    TIME_GTC,
    TIME_SPECIFIED_DAY,
    Account,
    Action,
    Kind,
    Order,
    Position,
    Quote,
    Reason,
)
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Refused, Retcode
from mt5_bridge.simulated.symbols import EXCHANGE_EXECUTION, INSTANT_EXECUTION, MARKET_EXECUTION, SymbolSpec

_DISABLED, _LONG_ONLY, _SHORT_ONLY, _CLOSE_ONLY = range(4)
_KINDS = tuple(Kind)
_AT_MARKET = (Kind.BUY, Kind.SELL)
_DEAL, _PENDING, _EXPERT = Action.DEAL, Action.PENDING, Reason.EXPERT
"""Kept, for a member of an enumeration takes longer to find than all the rest of a check."""
_ORDER_MODES = {
    Kind.BUY: 1,
    Kind.SELL: 1,
    Kind.BUY_LIMIT: 2,
    Kind.SELL_LIMIT: 2,
    Kind.BUY_STOP: 4,
    Kind.SELL_STOP: 4,
    Kind.BUY_STOP_LIMIT: 8,
    Kind.SELL_STOP_LIMIT: 8,
    Kind.CLOSE_BY: 64,
}
_SL_MODE, _TP_MODE = 16, 32
_FILL_FLAGS = {0: 1, 1: 2, FILL_BOC: 4}
_LIMITS = (Kind.BUY_LIMIT, Kind.SELL_LIMIT, Kind.BUY_STOP_LIMIT, Kind.SELL_STOP_LIMIT)
_ROUNDING = 1e-9


def check_account(account: Account, request: Request) -> None:
    """The account may trade, and may trade by robots if one asks."""
    if not account.trade_expert and request.reason == _EXPERT:
        raise Refused(Retcode.SERVER_DISABLES_AT)
    if not account.trade_allowed:
        raise Refused(Retcode.TRADE_DISABLED)


def symbol_of(book: Book, name: str) -> SymbolSpec:
    """The symbol of a request (rules L3, L7)."""
    spec = book.specs.get(name)
    if spec is None:
        raise Refused(Retcode.INVALID)
    if spec.trade_mode == _DISABLED:
        raise Refused(Retcode.TRADE_DISABLED)
    return spec


def kind_of(spec: SymbolSpec, request: Request) -> Kind:
    """The order type, if it fits the action and the symbol allows it (rule L18)."""
    if not 0 <= request.type < len(_KINDS) - 1:
        raise Refused(Retcode.INVALID_ORDER)
    kind = _KINDS[request.type]
    if (kind in _AT_MARKET) is not (request.action == _DEAL) or not spec.order_mode & _ORDER_MODES[kind]:
        raise Refused(Retcode.INVALID_ORDER)
    return kind


def check_close_by_allowed(spec: SymbolSpec) -> None:
    """Closing by an opposite position is among the symbol's order kinds."""
    if not spec.order_mode & _ORDER_MODES[Kind.CLOSE_BY]:
        raise Refused(Retcode.INVALID_ORDER)


def check_live(account: Account, spec: SymbolSpec) -> None:
    """The symbol may be traded without real money (rule L16)."""
    if spec.live_only and account.trade_mode != REAL_ACCOUNT:
        raise Refused(Retcode.ONLY_REAL)


def check_trade_mode(spec: SymbolSpec, kind: Kind) -> None:
    """Opening in this direction is allowed (rule L21)."""
    if spec.trade_mode == _CLOSE_ONLY:
        raise Refused(Retcode.CLOSE_ONLY)
    if spec.trade_mode == _LONG_ONLY and not kind.is_buy:
        raise Refused(Retcode.LONG_ONLY)
    if spec.trade_mode == _SHORT_ONLY and kind.is_buy:
        raise Refused(Retcode.SHORT_ONLY)


def check_filling(spec: SymbolSpec, request: Request, conventions: Conventions) -> None:
    """The filling policy is one of the symbol's (rules M1-M4, L15)."""
    policy = request.type_filling
    by_flag = bool(spec.filling_mode & _FILL_FLAGS.get(policy, 0))
    known = FILL_FOK <= policy <= FILL_BOC
    if request.action == _PENDING:
        allowed = by_flag or policy == FILL_RETURN or (known and conventions.pending_filling_tolerated)
        allowed = allowed and (policy != FILL_BOC or request.type in _LIMITS)
    elif spec.execution == MARKET_EXECUTION:
        allowed = by_flag and policy != FILL_BOC
    elif spec.execution == EXCHANGE_EXECUTION:
        allowed = by_flag or policy == FILL_RETURN
    else:
        allowed = known if conventions.filling_free_on_instant else policy == FILL_FOK
    if not allowed:
        raise Refused(Retcode.INVALID_FILL)


def check_expiration(spec: SymbolSpec, type_time: int, expiration: int, ends: int, now: int) -> None:
    """The lifetime is one of the symbol's and its end, `ends`, lies ahead (rules M5, L10)."""
    if not TIME_GTC <= type_time <= TIME_SPECIFIED_DAY or not spec.expiration_mode & (1 << type_time):
        raise Refused(Retcode.INVALID_EXPIRATION)
    if type_time > TIME_DAY and (not expiration or ends <= now):
        raise Refused(Retcode.INVALID_EXPIRATION)


def check_volume(spec: SymbolSpec, volume: float, *, closing: bool = False) -> None:
    """The volume is a multiple of the step within the limits; closing may go below the smallest (rule L4)."""
    steps = volume / spec.volume_step
    on_step = abs(steps - round(steps)) < _ROUNDING * max(1.0, steps)
    too_small = volume < spec.volume_min - _ROUNDING and not closing
    if volume <= 0 or not on_step or too_small or volume > spec.volume_max + _ROUNDING:
        raise Refused(Retcode.INVALID_VOLUME)


def quote_of(book: Book, spec: SymbolSpec) -> Quote:
    """The symbol's prices (rule L9)."""
    quote = book.quotes.get(spec.name)
    if quote is None:
        raise Refused(Retcode.PRICE_OFF)
    return quote


def check_stops(spec: SymbolSpec, *, buy: bool, reference: float, sl: float, tp: float) -> None:
    """SL and TP lie on their sides of the reference price, at least the stops level away (rules P1, L6)."""
    distance = spec.stops_level * spec.point - _ROUNDING
    sign = 1.0 if buy else -1.0
    least = max(distance, _ROUNDING)
    if (sl and not spec.order_mode & _SL_MODE) or (tp and not spec.order_mode & _TP_MODE):
        raise Refused(Retcode.INVALID_ORDER)
    if (sl and (reference - sl) * sign < least) or (tp and (tp - reference) * sign < least):
        raise Refused(Retcode.INVALID_STOPS)


def check_pending_price(spec: SymbolSpec, kind: Kind, quote: Quote, price: float, stoplimit: float) -> None:
    """A pending order's price lies on its side of the market (rules N1, L5)."""
    least = max(spec.stops_level * spec.point - _ROUNDING, _ROUNDING)
    market = quote.ask if kind.is_buy else quote.bid
    above = kind in (Kind.SELL_LIMIT, Kind.BUY_STOP, Kind.BUY_STOP_LIMIT)
    # An exchange takes a limit order at any price; one that can be filled is filled at once.
    free = spec.execution == EXCHANGE_EXECUTION and kind in (Kind.BUY_LIMIT, Kind.SELL_LIMIT)
    if price <= 0 or (not free and (price - market if above else market - price) < least):
        raise Refused(Retcode.INVALID_PRICE)
    if kind in (Kind.BUY_STOP_LIMIT, Kind.SELL_STOP_LIMIT):
        inside = price - stoplimit if kind.is_buy else stoplimit - price
        if stoplimit <= 0 or inside < least:
            raise Refused(Retcode.INVALID_PRICE)


def check_session(book: Book, spec: SymbolSpec) -> None:
    """The symbol trades now."""
    if not book.is_open(spec):
        raise Refused(Retcode.MARKET_CLOSED)


def check_requote(spec: SymbolSpec, request: Request, quote: Quote, *, buy: bool) -> None:
    """Instant execution: the market is within `deviation` points of the requested price (rules L1, Q1, Q2)."""
    if spec.execution <= INSTANT_EXECUTION:
        market = quote.ask if buy else quote.bid
        if abs(market - request.price) > request.deviation * spec.point + _ROUNDING:
            raise Refused(Retcode.REQUOTE)


def check_price_given(spec: SymbolSpec, request: Request) -> None:
    """Instant execution needs a price (rule L5)."""
    if spec.execution <= INSTANT_EXECUTION and request.price <= 0:
        raise Refused(Retcode.INVALID_PRICE)


def check_limits(account: Account, spec: SymbolSpec, kind: Kind, volume: float) -> None:
    """Count of pending orders and positions, and the symbol's total volume (rules L17, L20, O3)."""
    pending = kind not in _AT_MARKET
    if pending and account.limit_orders and len(account.orders) >= account.limit_orders:
        raise Refused(Retcode.LIMIT_ORDERS)
    _check_position_count(account, spec)
    if spec.volume_limit:
        signed = sum(
            one.volume * (1 if one.buy is kind.is_buy else -1)
            for one in account.positions.values()
            if one.symbol == spec.name and (one.buy is kind.is_buy or (account.nets and not pending))
        )
        waiting = sum(
            one.volume for one in account.orders.values() if one.symbol == spec.name and one.kind.is_buy is kind.is_buy
        )
        if signed + waiting + volume > spec.volume_limit + _ROUNDING:
            raise Refused(Retcode.LIMIT_VOLUME)


def _check_position_count(account: Account, spec: SymbolSpec) -> None:
    if not account.limit_positions:
        return
    count = len(account.positions) + (0 if account.nets else len(account.orders))
    adds = not account.nets or account.net_position(spec.name) is None
    if adds and count >= account.limit_positions:
        raise Refused(Retcode.LIMIT_POSITIONS)


def check_hedge(account: Account, spec: SymbolSpec, kind: Kind) -> None:
    """Where hedging is prohibited, nothing of the symbol points the other way (rule L22)."""
    if not account.hedge_prohibited or account.nets:
        return
    sides = [one.buy for one in account.positions.values() if one.symbol == spec.name]
    sides += [one.kind.is_buy for one in account.orders.values() if one.symbol == spec.name]
    if any(side is not kind.is_buy for side in sides):
        raise Refused(Retcode.HEDGE_PROHIBITED)


def check_fifo(account: Account, position: Position) -> None:
    """Under first in, first out the symbol's oldest position is closed first (rule L22)."""
    if account.fifo_close and not account.nets:
        oldest = min(one.ticket for one in account.positions.values() if one.symbol == position.symbol)
        if position.ticket != oldest:
            raise Refused(Retcode.FIFO_CLOSE)


def check_close_volume(account: Account, position: Position, volume: float) -> None:
    """The volume is there to close, and no other closing order covers it (rule L19)."""
    if volume > position.volume:
        raise Refused(Retcode.INVALID_CLOSE_VOLUME)
    if not account.orders:
        return
    covered = sum(one.volume for one in account.orders.values() if one.position == position.ticket)
    if covered and volume > position.volume - covered + _ROUNDING:
        raise Refused(Retcode.CLOSE_ORDER_EXIST)


def position_of(account: Account, ticket: int) -> Position:
    """A position by its ticket; one that is closed already and one that never was are told apart (rule L19)."""
    position = account.positions.get(ticket)
    if position is not None:
        return position
    was_there = any(record.position_id == ticket for record in account.deals) if ticket else False
    raise Refused(Retcode.POSITION_CLOSED if was_there else Retcode.INVALID)


def order_of(account: Account, ticket: int) -> Order:
    """An active order by its ticket."""
    order = account.orders.get(ticket)
    if order is None:
        raise Refused(Retcode.INVALID)
    return order


def check_freeze(spec: SymbolSpec, market: float, levels: tuple[float, ...]) -> None:
    """The market price that counts is not within the freeze level of any of the levels (rules P3, L14)."""
    distance = spec.freeze_level * spec.point
    if distance and any(level and abs(market - level) <= distance + _ROUNDING for level in levels):
        raise Refused(Retcode.FROZEN)
