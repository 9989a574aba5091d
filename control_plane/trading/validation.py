"""Is an order one that can be right? Decided before anything is sent, from the symbol's limits and the newest quote.

What passes here the broker does not call invalid, and what is refused here it would refuse; a property test holds both
against the simulated broker. Money, sessions and limits of the account are the broker's to judge. Prices are rounded to
the symbol's digits first, as the broker does; volumes are compared in exact arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from control_plane.access.market import SymbolSpec
from control_plane.errors import FieldError, InvalidInputError
from control_plane.trading.state import Expiration, OrderType, Side
from mt5_bridge.contract import CONSTANTS

DAY_SECONDS: Final = 86_400
_DISABLED, _LONG_ONLY, _SHORT_ONLY, _CLOSE_ONLY = (
    CONSTANTS[f"SYMBOL_TRADE_MODE_{name}"] for name in ("DISABLED", "LONGONLY", "SHORTONLY", "CLOSEONLY")
)
_MARKET_EXECUTION = CONSTANTS["SYMBOL_TRADE_EXECUTION_MARKET"]
_EXCHANGE_EXECUTION = CONSTANTS["SYMBOL_TRADE_EXECUTION_EXCHANGE"]
_ORDER_MODES: Final = {OrderType.MARKET: 1, OrderType.LIMIT: 2, OrderType.STOP: 4, OrderType.STOP_LIMIT: 8}
_STOP_LOSS_MODE, _TAKE_PROFIT_MODE, _CLOSE_BY_MODE = 16, 32, 64
_FILL_OR_KILL_MODE, _IMMEDIATE_OR_CANCEL_MODE = 1, 2
LIFETIMES: Final = {name: CONSTANTS[f"ORDER_TIME_{name.name}"] for name in Expiration}
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Quote:
    """The newest prices, and the broker's time in seconds at which they came."""

    bid: float
    ask: float
    broker_time: int

    def to_fill(self, side: Side) -> float:
        """The price of an order at the market on this side."""
        return self.ask if side is Side.BUY else self.bid


NO_QUOTE: Final = Quote(0.0, 0.0, 0)


@dataclass(frozen=True)
class Problem:
    """Why an order cannot be right. `field` is the one of the request that is wrong."""

    field: str
    code: str
    text: str


@dataclass(frozen=True)
class Levels:
    """Where a pending order waits, until when, and its stops. 0 stands for none."""

    price: float = 0.0
    stop_limit_price: float = 0.0
    stop_loss: float = 0.0
    take_profit: float = 0.0
    expiration: Expiration = Expiration.GTC
    expires_broker_time: int = 0


NO_LEVELS: Final = Levels()


@dataclass(frozen=True)
class Proposal:
    """An order that would open or place something."""

    type: OrderType
    side: Side
    volume: float
    levels: Levels


def require(problems: Sequence[Problem]) -> None:
    """Raises InvalidInputError with all problems, worded as the first."""
    if problems:
        first = problems[0]
        raise InvalidInputError(
            first.text, code=first.code, errors=[FieldError(each.field, each.text) for each in problems]
        )


def filling_for(spec: SymbolSpec, kind: OrderType) -> int | None:
    """The filling policy (`ORDER_FILLING_*`) that the symbol takes for an order of this type; None when it has none.

    A pending order may always leave a rest (RETURN). At the market, fill-or-kill is preferred, since then nobody has to
    ask how much was filled.
    """
    if kind is not OrderType.MARKET:
        return CONSTANTS["ORDER_FILLING_RETURN"]
    if spec.filling_mode & _FILL_OR_KILL_MODE or spec.execution not in {_MARKET_EXECUTION, _EXCHANGE_EXECUTION}:
        return CONSTANTS["ORDER_FILLING_FOK"]
    if spec.filling_mode & _IMMEDIATE_OR_CANCEL_MODE:
        return CONSTANTS["ORDER_FILLING_IOC"]
    return CONSTANTS["ORDER_FILLING_RETURN"] if spec.execution == _EXCHANGE_EXECUTION else None


def needs_quote(wish: Proposal, spec: SymbolSpec) -> bool:
    """Whether the market's price takes part in such an order.

    It does not in one at the market without stops, where the broker executes at its own price: the terminal is sent
    none then, and asking for one would cost a way to the node and back.
    """
    at_brokers_price = spec.execution in {_MARKET_EXECUTION, _EXCHANGE_EXECUTION}
    stops = wish.levels.stop_loss or wish.levels.take_profit
    return wish.type is not OrderType.MARKET or not at_brokers_price or bool(stops)


def opening_problems(wish: Proposal, spec: SymbolSpec, quote: Quote) -> list[Problem]:
    return [
        *_trade_mode_problems(wish.side, spec),
        *_type_problems(wish.type, spec),
        *_volume_problems(wish.volume, spec, smallest=spec.volume_min),
        *(_price_problems(wish, spec, quote) if wish.type is not OrderType.MARKET else ()),
        *(_lifetime_problems(wish.levels, spec, quote) if wish.type is not OrderType.MARKET else ()),
        *_stop_problems(wish.levels, wish.side, _reference(wish, quote), spec),
    ]


def closing_problems(volume: float, position: Any, spec: SymbolSpec, quote: Quote) -> list[Problem]:
    """Of closing `volume` lots of a `TradePosition`: the smallest volume does not count, the step does."""
    whole = Decimal(repr(volume)) == Decimal(repr(position.volume))
    problems = [*_disabled_problems(spec), *_type_problems(OrderType.MARKET, spec)]
    if not whole:  # the whole of what is open is never wrong, whatever the symbol's limits are today
        problems += _volume_problems(volume, spec, smallest=Decimal(0))
    if Decimal(repr(volume)) > Decimal(repr(position.volume)):
        problems.append(Problem("volume", "invalid_volume", f"The position has only {position.volume:g} lots."))
    closing = quote.to_fill(closing_side(position))
    return [*problems, *_freeze_problems(spec, closing, (position.sl, position.tp), "position")]


def close_by_problems(position: Any, other: Any, spec: SymbolSpec, *, hedging: bool) -> list[Problem]:
    """Of closing two `TradePosition`s of one symbol by each other."""
    if not hedging:
        text = "This account nets its positions, so there is never one to close another by."
        return [Problem("position_by", "not_hedging", text)]
    if position.symbol != other.symbol or position.type == other.type:
        text = "A position can only be closed by one of the same symbol on the other side."
        return [Problem("position_by", "not_opposite", text)]
    if spec.trade_mode == _DISABLED or not spec.order_mode & _CLOSE_BY_MODE:
        return [Problem("position_by", "type_not_allowed", f"{spec.name} cannot be closed by another position.")]
    return []


def stops_problems(
    stop_loss: float, take_profit: float, position: Any, spec: SymbolSpec, quote: Quote
) -> list[Problem]:
    """Of new stops for a `TradePosition`; 0 takes one away."""
    if _same(spec, (stop_loss, take_profit), (position.sl, position.tp)):
        return [Problem("stop_loss", "no_change", "The position has exactly these stops already.")]
    closing, side = quote.to_fill(closing_side(position)), position_side(position)
    levels = Levels(stop_loss=stop_loss, take_profit=take_profit)
    return [
        *_disabled_problems(spec),
        *_stop_problems(levels, side, closing, spec),
        *_freeze_problems(spec, closing, (position.sl, position.tp), "position"),
    ]


def change_problems(levels: Levels, order: Any, spec: SymbolSpec, quote: Quote) -> list[Problem]:
    """Of new levels for a pending `TradeOrder`."""
    wish = Proposal(pending_type(order), order_side(order), order.volume_current, levels)
    present = (order.price_open, order.price_stoplimit, order.sl, order.tp)
    wanted = (levels.price, levels.stop_limit_price, levels.stop_loss, levels.take_profit)
    same_end = (order.type_time, order.time_expiration) == (
        LIFETIMES[levels.expiration],
        levels.expires_broker_time or order.time_expiration,
    )
    if same_end and _same(spec, present, wanted):
        return [Problem("price", "no_change", "The order is exactly like that already.")]
    return [
        *_price_problems(wish, spec, quote),
        *_lifetime_problems(levels, spec, quote),
        *_stop_problems(levels, wish.side, _reference(wish, quote), spec),
        *cancel_problems(order, spec, quote),
    ]


def cancel_problems(order: Any, spec: SymbolSpec, quote: Quote) -> list[Problem]:
    """Of cancelling a pending `TradeOrder`: not while the market is about to reach it."""
    market = quote.to_fill(order_side(order))
    return [*_disabled_problems(spec), *_freeze_problems(spec, market, (order.price_open,), "order")]


def position_side(position: Any) -> Side:
    return Side.SELL if position.type else Side.BUY


def closing_side(position: Any) -> Side:
    return Side.BUY if position.type else Side.SELL


def order_side(order: Any) -> Side:
    return Side.SELL if order.type % 2 else Side.BUY


def pending_type(order: Any) -> OrderType:
    """Of a `TradeOrder`: its types come in pairs, buy and sell."""
    return (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT)[min(order.type // 2, 3)]


def lifetime_of(order: Any) -> Expiration:
    """Of a `TradeOrder`."""
    return next((name for name, code in LIFETIMES.items() if code == order.type_time), Expiration.GTC)


def _trade_mode_problems(side: Side, spec: SymbolSpec) -> Iterator[Problem]:
    texts = {
        _DISABLED: f"{spec.name} cannot be traded.",
        _CLOSE_ONLY: f"Positions in {spec.name} can only be closed at present.",
    }
    if side is Side.SELL:
        texts[_LONG_ONLY] = f"{spec.name} can only be bought."
    else:
        texts[_SHORT_ONLY] = f"{spec.name} can only be sold."
    if spec.trade_mode in texts:
        yield Problem("symbol", "trade_mode", texts[spec.trade_mode])


def _disabled_problems(spec: SymbolSpec) -> Iterator[Problem]:
    if spec.trade_mode == _DISABLED:
        yield Problem("symbol", "trade_mode", f"{spec.name} cannot be traded.")


def _type_problems(kind: OrderType, spec: SymbolSpec) -> Iterator[Problem]:
    if not spec.order_mode & _ORDER_MODES[kind]:
        name = kind.value.replace("_", "-")
        yield Problem("type", "type_not_allowed", f"{spec.name} takes no {name} orders.")
    if filling_for(spec, kind) is None:
        yield Problem("type", "no_filling_policy", f"{spec.name} takes orders at the market in no way that is known.")


def _volume_problems(volume: float, spec: SymbolSpec, smallest: Decimal) -> Iterator[Problem]:
    lots, text = Decimal(repr(volume)), ""
    if lots < smallest:
        text = f"The smallest volume for {spec.name} is {smallest.normalize():f} lots."
    elif lots > spec.volume_max:
        text = f"The largest volume for {spec.name} is {spec.volume_max.normalize():f} lots."
    elif spec.volume_step > 0 and lots % spec.volume_step != 0:
        text = f"The volume for {spec.name} must be a multiple of {spec.volume_step.normalize():f} lots."
    if text:
        yield Problem("volume", "invalid_volume", text)


def _price_problems(wish: Proposal, spec: SymbolSpec, quote: Quote) -> Iterator[Problem]:
    """A limit waits on the better side of the market, a stop on the worse, a stop-limit's limit behind its stop."""
    levels, buy, market = wish.levels, wish.side is Side.BUY, quote.to_fill(wish.side)
    price, inner = (round(each, spec.digits) for each in (levels.price, levels.stop_limit_price))
    above = buy is not (wish.type is OrderType.LIMIT)
    marketable = spec.execution == _EXCHANGE_EXECUTION and wish.type is OrderType.LIMIT
    if price <= 0 or (not marketable and (price - market if above else market - price) < _least(spec)):
        yield Problem("price", "invalid_price", _side_text(wish, spec, market, above=above))
    if wish.type is OrderType.STOP_LIMIT and (inner <= 0 or (price - inner if buy else inner - price) < _least(spec)):
        word = "below" if buy else "above"
        text = f"The limit price of a {wish.side} stop-limit lies{_distance(spec)} {word} its stop price."
        yield Problem("stop_limit_price", "invalid_price", text)


def _side_text(wish: Proposal, spec: SymbolSpec, market: float, *, above: bool) -> str:
    name, word = wish.type.value.replace("_", "-"), "above" if above else "below"
    return f"The price of a {wish.side} {name} lies{_distance(spec)} {word} the market ({market:.{spec.digits}f})."


def _distance(spec: SymbolSpec) -> str:
    return f" at least {spec.stops_level} points" if spec.stops_level else ""


def _lifetime_problems(levels: Levels, spec: SymbolSpec, quote: Quote) -> Iterator[Problem]:
    if not spec.expiration_mode & (1 << LIFETIMES[levels.expiration]):
        name = levels.expiration.value.replace("_", " ")
        yield Problem("expiration", "expiration_not_allowed", f"{spec.name} takes no orders that live: {name}.")
    if levels.expiration in {Expiration.SPECIFIED, Expiration.SPECIFIED_DAY}:
        ends = levels.expires_broker_time
        if levels.expiration is Expiration.SPECIFIED_DAY:
            ends = ends // DAY_SECONDS * DAY_SECONDS + DAY_SECONDS - 1
        if not levels.expires_broker_time or ends <= quote.broker_time:
            yield Problem("expires_broker_time", "invalid_expiration", "The order's end lies in the broker's future.")


def _reference(wish: Proposal, quote: Quote) -> float:
    """The price that stops are measured from: where the order would be closed, or where it waits."""
    if wish.type is OrderType.MARKET:
        return quote.to_fill(Side.SELL if wish.side is Side.BUY else Side.BUY)
    return wish.levels.stop_limit_price or wish.levels.price


def _stop_problems(levels: Levels, side: Side, reference: float, spec: SymbolSpec) -> Iterator[Problem]:
    sign = 1.0 if side is Side.BUY else -1.0
    stops = (
        ("stop_loss", "stop loss", levels.stop_loss, _STOP_LOSS_MODE, -sign),
        ("take_profit", "take profit", levels.take_profit, _TAKE_PROFIT_MODE, sign),
    )
    for field, name, wanted, mode, direction in stops:
        level = round(wanted, spec.digits)
        if not level:
            continue
        if not spec.order_mode & mode:
            yield Problem(field, "type_not_allowed", f"{spec.name} takes no {name}.")
        if (level - round(reference, spec.digits)) * direction < _least(spec):
            word = "above" if direction > 0 else "below"
            text = f"For a {side}, the {name} lies{_distance(spec)} {word} {reference:.{spec.digits}f}."
            yield Problem(field, "invalid_stops", text)


def _freeze_problems(spec: SymbolSpec, market: float, levels: tuple[float, ...], what: str) -> Iterator[Problem]:
    distance = spec.freeze_level * spec.point
    if distance and any(level and abs(market - level) <= distance + _ROUNDING for level in levels):
        text = (
            f"The market is within {spec.freeze_level} points of a level of this {what}, so it cannot be changed now."
        )
        yield Problem("ticket", "frozen", text)


def _least(spec: SymbolSpec) -> float:
    """The smallest distance in price that counts as one."""
    return max(spec.stops_level * spec.point - _ROUNDING, _ROUNDING)


def _same(spec: SymbolSpec, some: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return all(round(a, spec.digits) == round(b, spec.digits) for a, b in zip(some, others, strict=True))
