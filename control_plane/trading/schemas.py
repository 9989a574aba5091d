"""Bodies of orders, positions, deals and equity."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from control_plane.trading.state import OrderKind, OrderState, Side

Volume = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False, description="Lots.")]
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PlaceOrder(BaseModel):
    """A market order."""

    symbol: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    side: Side
    volume: Volume
    stop_loss: Price | None = None
    take_profit: Price | None = None
    comment: Annotated[str, StringConstraints(max_length=27)] = ""


class ClosePosition(BaseModel):
    volume: Volume | None = None
    """Lots to close; None closes the whole position."""


class OrderOut(BaseModel):
    id: str
    account_id: str
    kind: OrderKind
    side: Side
    symbol: str
    volume: float
    stop_loss: float | None
    take_profit: float | None
    position_ticket: int | None
    state: OrderState
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
