"""Bodies of the broker's book: corrections, history orders, positions as last seen, reconciliation."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from control_plane.trading.state import DifferenceKind, DifferenceState, Side, Subject


class CorrectionOut(BaseModel):
    """An edit by the broker: what has changed, by field, before and after; money as decimal strings."""

    number: int
    before: dict[str, Any]
    after: dict[str, Any]
    observed_at: datetime
    recorded_at: datetime


class CorrectionList(BaseModel):
    items: list[CorrectionOut]


class HistoryOrderOut(BaseModel):
    """An order of the broker's history, whoever placed it."""

    ticket: int
    position_ticket: int
    symbol: str
    type: str
    """buy, sell, buy_limit, sell_limit, buy_stop, sell_stop, buy_stop_limit, sell_stop_limit, close_by or other."""
    state: str
    """filled, canceled, partial, rejected, expired or other."""
    reason: str
    """Why it was made: client, mobile, web, expert, sl, tp, so or other."""
    volume_initial: float
    volume_left: float
    price_open: float
    stop_loss: float | None
    take_profit: float | None
    magic: int
    bot_id: str | None
    comment: str
    placed_broker_time_msc: int
    done_broker_time_msc: int
    recorded_at: datetime


class SeenPosition(BaseModel):
    ticket: int
    symbol: str
    side: Side
    volume: float
    price_open: float
    stop_loss: float | None
    take_profit: float | None
    swap: str
    magic: int
    bot_id: str | None
    comment: str
    broker_time_msc: int


class SeenPositions(BaseModel):
    """As the terminal last showed them, also while it is stopped. What moves with the market is not among it."""

    seen_at: datetime | None
    """None before the first sight."""
    items: list[SeenPosition]


class ReconciliationState(StrEnum):
    NEVER = "never"
    """Not compared yet."""
    WAITING = "waiting"
    """Asked for; begins when the terminal is ready."""
    CHECKING = "checking"
    """Something differed at the first look; a second one will tell whether it lasts."""
    FAILED = "failed"
    """The last look came to nothing; `problem` says why, and it is tried again."""
    COMPLETE = "complete"


class ReconciliationOut(BaseModel):
    """How the trade log stands to the broker's book."""

    state: ReconciliationState
    problem: str
    requested_at: datetime | None
    looked_at: datetime | None
    finished_at: datetime | None
    deals: int
    orders: int
    fetched: int
    """Rows that had to be read at the last look; all others were alike by their digests."""
    open_differences: int
    healed_differences: int


class DifferenceOut(BaseModel):
    """One difference. `here` and `there` hold the fields that differ, or the whole row where one side has none."""

    id: str
    subject: Subject
    kind: DifferenceKind
    ticket: int
    state: DifferenceState
    note: str
    """The difference in a trader's words."""
    here: dict[str, Any]
    there: dict[str, Any]
    found_at: datetime
    settled_at: datetime | None
