"""What the broker's book is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from mt5_bridge.structs import Struct, TradeOrder, TradePosition, unchecked


class Action(IntEnum):
    """`action` of a trade request."""

    DEAL = 1
    PENDING = 5
    SLTP = 6
    MODIFY = 7
    REMOVE = 8
    CLOSE_BY = 10


class Kind(IntEnum):
    """Type of an order; positions and deals use the first two."""

    BUY = 0
    SELL = 1
    BUY_LIMIT = 2
    SELL_LIMIT = 3
    BUY_STOP = 4
    SELL_STOP = 5
    BUY_STOP_LIMIT = 6
    SELL_STOP_LIMIT = 7
    CLOSE_BY = 8

    @property
    def is_buy(self) -> bool:
        """Whether an execution of this order buys. Meaningless for CLOSE_BY."""
        return not self & 1


class State(IntEnum):
    """State of an order."""

    PLACED = 1
    CANCELED = 2
    PARTIAL = 3
    FILLED = 4
    REJECTED = 5
    EXPIRED = 6


class Entry(IntEnum):
    """What a deal does to its position."""

    IN = 0
    OUT = 1
    INOUT = 2
    OUT_BY = 3


class Reason(IntEnum):
    """Why an order or a deal came to be: where it was asked for (`EXPERT`: the Python API), or what the server did."""

    CLIENT = 0
    MOBILE = 1
    WEB = 2
    EXPERT = 3
    SL = 4
    TP = 5
    SO = 6
    ROLLOVER = 7
    VARIATION_MARGIN = 8
    SPLIT = 9


DEAL_BALANCE, DEAL_CREDIT = 2, 3
TIME_GTC, TIME_DAY, TIME_SPECIFIED, TIME_SPECIFIED_DAY = range(4)
FILL_FOK, FILL_IOC, FILL_RETURN, FILL_BOC = range(4)
MARGIN_NETTING, MARGIN_EXCHANGE, MARGIN_HEDGING = range(3)
SO_PERCENT, SO_MONEY = range(2)
REAL_ACCOUNT = 2
"""`trade_mode` of an account with real money; 0 is a demo, 1 a contest."""


class Quote(NamedTuple):
    """Current prices of a symbol and the market time (ms) of the tick that brought them.

    `last` is the price of the last deal, 0 where there are none.
    """

    bid: float
    ask: float
    time_msc: int
    last: float = 0.0

    def to_fill(self, *, buy: bool) -> float:
        """The price at which a market order is filled (rule Q1)."""
        return self.ask if buy else self.bid


@dataclass(slots=True)
class Order:
    """An active order: a pending one, or a market order on its way through the engine."""

    ticket: int
    login: int
    symbol: str
    kind: Kind
    volume: float
    price: float
    stoplimit: float
    sl: float
    tp: float
    type_time: int
    filling: int
    expiration: int
    magic: int
    comment: str
    reason: int
    setup_msc: int
    initial: float = 0.0
    """Volume when it was placed; 0 stands for `volume`, which is what is left to fill."""
    position: int = 0
    """Ticket of the position that the order closes, 0 for one that opens."""

    @property
    def is_partial(self) -> bool:
        """Whether a part of it has been filled."""
        return bool(self.initial) and self.volume < self.initial

    def finished(
        self,
        state: State,
        done_msc: int,
        *,
        position: int = 0,
        position_by: int = 0,
        left: float = 0.0,
        price_current: float = 0.0,
    ) -> Struct:
        """The record that goes into the history."""
        return self._struct(state, done_msc, position, position_by, left, price_current)

    def active(self, quote: Quote | None) -> Struct:
        """The record that `orders_get` shows (rule N6)."""
        price = 0.0 if quote is None else quote.ask if self.kind.is_buy else quote.bid
        state = State.PARTIAL if self.is_partial else State.PLACED
        return self._struct(state, 0, self.position, 0, self.volume, price)

    def _struct(
        self, state: State, done_msc: int, position: int, position_by: int, left: float, price_current: float
    ) -> Struct:
        return unchecked(
            TradeOrder,
            (
                self.ticket,
                self.setup_msc // 1000,
                self.setup_msc,
                done_msc // 1000,
                done_msc,
                self.expiration,
                int(self.kind),
                self.type_time,
                self.filling,
                int(state),
                self.magic,
                position,
                position_by,
                int(self.reason),
                self.initial or self.volume,
                left,
                self.price,
                self.sl,
                self.tp,
                price_current,
                self.stoplimit,
                self.symbol,
                self.comment,
                "",
            ),
        )


@dataclass(slots=True)
class Position:
    """An open position. `margin_per_lot` is in the account currency, fixed when it was opened (rule T4)."""

    ticket: int
    login: int
    symbol: str
    buy: bool
    volume: float
    price_open: float
    sl: float
    tp: float
    magic: int
    comment: str
    reason: int
    identifier: int
    margin_per_lot: float
    time_msc: int
    update_msc: int
    swap: float = 0.0
    interest: float = 0.0
    """Of a bond: what one unit has accrued since it was bought, in the profit currency (rule U1)."""

    def struct(self, price_current: float, profit: float) -> Struct:
        """The record that `positions_get` shows."""
        return unchecked(
            TradePosition,
            (
                self.ticket,
                self.time_msc // 1000,
                self.time_msc,
                self.update_msc // 1000,
                self.update_msc,
                0 if self.buy else 1,
                self.magic,
                self.identifier,
                int(self.reason),
                self.volume,
                self.price_open,
                self.sl,
                self.tp,
                price_current,
                self.swap,
                profit,
                self.symbol,
                self.comment,
                "",
            ),
        )


@dataclass(slots=True)
class Account:
    """A trading account with its open and finished business."""

    login: int
    name: str
    currency: str
    leverage: int
    balance: float = 0.0
    credit: float = 0.0
    currency_digits: int = 2
    margin_mode: int = MARGIN_HEDGING
    trade_mode: int = 0
    limit_orders: int = 200
    limit_positions: int = 0
    margin_so_mode: int = SO_PERCENT
    margin_so_call: float = 50.0
    margin_so_so: float = 30.0
    trade_allowed: bool = True
    trade_expert: bool = True
    fifo_close: bool = False
    hedge_prohibited: bool = False
    """Opposite positions of one symbol are refused (rule L22)."""
    one_time_password: bool = False
    """The account needs more than a password to log in (rule B10)."""
    commission_blocked: float = 0.0
    orders: dict[int, Order] = field(default_factory=dict)
    positions: dict[int, Position] = field(default_factory=dict)
    history: list[Struct] = field(default_factory=list)
    deals: list[Struct] = field(default_factory=list)

    @property
    def nets(self) -> bool:
        """Whether there is one position for each symbol (section S)."""
        return self.margin_mode != MARGIN_HEDGING

    def net_position(self, symbol: str) -> Position | None:
        """The position of a symbol on a netting account."""
        return next((one for one in self.positions.values() if one.symbol == symbol), None)

    def money(self, value: float) -> float:
        """`value` rounded to the digits of the account currency."""
        return round(value, self.currency_digits)


@dataclass(slots=True)
class Changes:
    """What a step of the engine changed, for the store: everything in here becomes durable together."""

    accounts: set[int] = field(default_factory=set)
    orders: set[tuple[int, int]] = field(default_factory=set)
    """(login, ticket) of active orders that were added, changed or removed."""
    positions: set[tuple[int, int]] = field(default_factory=set)
    history: list[tuple[int, Struct]] = field(default_factory=list)
    deals: list[tuple[int, Struct]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.accounts or self.orders or self.positions or self.history or self.deals)
