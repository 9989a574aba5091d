"""Bodies of orders, positions, deals and equity."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from control_plane.trading.state import Expiration, OrderKind, OrderState, OrderType, Side, Which

Volume = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, description="Lots.")]
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Deviation = Annotated[int, Field(ge=0, le=100_000, description="Points that the price may move meanwhile.")]
ClientOrderId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$"),
    Field(description="Made by the client: a name of its own for the order, unique for the account."),
]


def _require(unneeded: bool, missing: bool, field: str) -> None:
    """Raises ValueError when a field is there without need, or needed and not there."""
    if unneeded and not missing:
        raise ValueError(f"An order of this type has no {field}.")
    if not unneeded and missing:
        raise ValueError(f"An order of this type needs {field}.")


class _Levels(BaseModel):
    """Prices in the quote currency."""

    stop_limit_price: Price | None = None
    """Of a stop-limit: where its limit order waits once its stop price is reached."""
    stop_loss: Price | None = None
    take_profit: Price | None = None
    expires_broker_time: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    """End of a pending order's life, in seconds of the broker's clock; for `specified` and `specified_day`."""


class PlaceOrder(_Levels):
    """A market order, or with another type a pending one."""

    symbol: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    side: Side
    volume: Volume
    type: OrderType = OrderType.MARKET
    price: Price | None = None
    """Where a pending order waits. A market order has none."""
    expiration: Expiration = Expiration.GTC
    deviation: Deviation | None = None
    comment: Annotated[str, StringConstraints(max_length=27)] = ""
    client_order_id: ClientOrderId | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> PlaceOrder:
        _require(self.type is OrderType.MARKET, self.price is None, "price")
        _require(self.type is not OrderType.STOP_LIMIT, self.stop_limit_price is None, "stop_limit_price")
        ends = self.expiration in {Expiration.SPECIFIED, Expiration.SPECIFIED_DAY}
        _require(not ends, self.expires_broker_time is None, "expires_broker_time")
        if self.type is OrderType.MARKET and self.expiration is not Expiration.GTC:
            raise ValueError("Only a pending order has an expiration.")
        return self


class ClosePosition(BaseModel):
    volume: Volume | None = None
    """Lots to close; None closes the whole position."""
    deviation: Deviation | None = None
    client_order_id: ClientOrderId | None = None


class ModifyPosition(BaseModel):
    """The stops as they shall be; None takes one away."""

    stop_loss: Price | None = None
    take_profit: Price | None = None
    client_order_id: ClientOrderId | None = None


class CloseBy(BaseModel):
    position_by: Annotated[int, Field(gt=0, lt=2**63)]
    """Ticket of a position of the same symbol on the other side."""
    client_order_id: ClientOrderId | None = None


class ModifyPending(_Levels):
    """The order as it shall be; stops that are None are taken away."""

    price: Price
    expiration: Expiration | None = None
    """None leaves the end of its life as it is."""
    client_order_id: ClientOrderId | None = None


class CancelPending(BaseModel):
    client_order_id: ClientOrderId | None = None


class CloseAll(BaseModel):
    symbol: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None
    """Of this symbol only."""
    which: Which = Which.ALL


class CancelAll(BaseModel):
    symbol: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None
    """Of this symbol only."""


class ResolveOrder(BaseModel):
    """What a person has seen at the broker."""

    happened: bool
    note: Annotated[str, StringConstraints(max_length=200)] = ""


class OrderProblem(BaseModel):
    field: str
    code: str
    message: str


class OrderPreview(BaseModel):
    """What an order would need and risk, by the terminal's own calculation. Money in the account's currency."""

    problems: list[OrderProblem]
    """Why it cannot be right; it would not be sent. Empty when nothing speaks against it."""
    retcode: int | None
    """What the terminal's own check says (`order_check`), 0 for good; None when it was not asked."""
    message: str
    price: float
    currency: str
    margin: str | None
    margin_free: str
    margin_free_after: str | None
    loss_at_stop: str | None
    """Profit when the stop loss is reached, without swap and commission; mostly negative."""
    profit_at_target: str | None
    broker_time: int


class PendingOrderOut(BaseModel):
    """A pending order at the broker, whoever placed it."""

    ticket: int
    symbol: str
    side: Side
    type: OrderType
    volume: float
    price: float
    stop_limit_price: float | None
    price_current: float
    stop_loss: float | None
    take_profit: float | None
    expiration: Expiration
    expires_broker_time: int | None
    magic: int
    bot_id: str | None
    comment: str
    broker_time: int


class PendingOrderList(BaseModel):
    items: list[PendingOrderOut]


class OrderOut(BaseModel):
    id: str
    account_id: str
    client_order_id: str | None
    """What the caller named it by."""
    batch_id: str | None
    kind: OrderKind
    type: OrderType
    side: Side
    symbol: str
    volume: float
    wished_price: float | None
    stop_limit_price: float | None
    expiration: Expiration | None
    expires_broker_time: int | None
    stop_loss: float | None
    take_profit: float | None
    position_ticket: int | None
    position_by_ticket: int | None
    pending_ticket: int | None
    state: OrderState
    asks_person: bool
    """Nothing that the farm can see says what became of it: somebody has to look at the broker, and say so."""
    retcode: int
    """Return code of the trade server; 0 while there is none."""
    retcode_name: str
    message: str
    """The outcome in a trader's words."""
    order_ticket: int
    deal_ticket: int
    price: float
    principal: str
    created_at: datetime
    settled_at: datetime | None


class OrderBatchOut(BaseModel):
    """What became of each part of a request for many."""

    id: str
    created_at: datetime
    items: list[OrderOut]


class PositionOut(BaseModel):
    ticket: int
    symbol: str
    side: Side
    volume: float
    price_open: float
    price_current: float
    stop_loss: float | None
    take_profit: float | None
    profit: str
    swap: str
    magic: int
    bot_id: str | None
    comment: str
    broker_time: int


class PositionList(BaseModel):
    items: list[PositionOut]


class DealOut(BaseModel):
    ticket: int
    order_ticket: int
    position_ticket: int
    symbol: str
    type: Literal["buy", "sell", "balance", "credit", "other"]
    operation: str
    """The type by its full name: buy, sell, balance, credit, charge, correction, bonus, commission, commission_daily,
    interest, dividend, tax and the others of MT5; `other` for those that it does not name."""
    entry: Literal["in", "out", "inout", "out_by"]
    volume: float
    price: float
    profit: str
    commission: str
    swap: str
    fee: str
    magic: int
    bot_id: str | None
    reason: str
    """Why the broker made it: client, mobile, web, expert, sl, tp, so, rollover, vmargin, split or other."""
    comment: str
    broker_time_msc: int
    recorded_at: datetime
    corrections: int
    """How often the broker has edited it; what is shown here is how it stands now."""


class EquityPoint(BaseModel):
    at: datetime
    broker_time: int
    balance: str
    equity: str


class EquityCurve(BaseModel):
    currency: str | None
    items: list[EquityPoint]
