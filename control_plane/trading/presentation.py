"""Orders, positions, deals and equity as their owner sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from control_plane.db.types import money
from control_plane.money import money_text
from control_plane.trading.book_rows import corrected, facts_of_row
from control_plane.trading.ledger import DEAL_TYPE_NAMES
from control_plane.trading.model import Deal, DealCorrection, EquitySample, Order
from control_plane.trading.outcome import retcode_name
from control_plane.trading.schemas import DealOut, EquityPoint, OrderOut, PendingOrderOut, PositionOut
from control_plane.trading.state import Expiration, OrderKind, OrderState, OrderType, Side
from control_plane.trading.validation import lifetime_of, order_side, pending_type
from mt5_bridge.contract import CONSTANT_GROUPS

_DEAL_TYPES: dict[int, Literal["buy", "sell", "balance", "credit"]] = {0: "buy", 1: "sell", 2: "balance", 3: "credit"}
_DEAL_ENTRIES: dict[int, Literal["in", "out", "inout", "out_by"]] = {0: "in", 1: "out", 2: "inout", 3: "out_by"}
_DEAL_REASONS = {
    code: name.removeprefix("DEAL_REASON_").lower() for name, code in CONSTANT_GROUPS["DEAL_REASON"].items()
}


def present_order(row: Order, entries: Mapping[int, int]) -> OrderOut:
    """`entries` are those of the known deals by ticket: they tell whether a bot's order opened or closed."""
    return OrderOut(
        id=row.id,
        account_id=row.account_id,
        client_order_id=row.caller_order_id,
        batch_id=row.batch_id,
        kind=_kind(row, entries),
        type=OrderType(row.type),
        side=Side(row.side),
        symbol=row.symbol,
        volume=row.volume,
        wished_price=row.wished_price,
        stop_limit_price=row.stop_limit_price,
        expiration=Expiration(row.expiration) if row.expiration else None,
        expires_broker_time=row.expires_broker_time,
        stop_loss=row.stop_loss,
        take_profit=row.take_profit,
        position_ticket=row.position_ticket,
        position_by_ticket=row.position_by_ticket,
        pending_ticket=row.pending_ticket,
        state=OrderState(row.state),
        asks_person=row.asks_person,
        retcode=row.retcode,
        retcode_name=retcode_name(row.retcode),
        message=row.message,
        order_ticket=row.order_ticket,
        deal_ticket=row.deal_ticket,
        price=row.price,
        principal=row.principal,
        created_at=row.created_at,
        settled_at=row.settled_at,
    )


def present_deal(row: Deal, bots: Mapping[int, str], corrections: Sequence[DealCorrection] = ()) -> DealOut:
    """`bots` are the account's bot ids by magic number; `corrections` the account's, in the order of their making."""
    made = [each for each in corrections if each.ticket == row.ticket]
    facts = facts_of_row(row)
    for each in made:
        facts = corrected(facts, each.after)
    return DealOut(
        ticket=row.ticket,
        order_ticket=facts.order,
        position_ticket=facts.position_id,
        symbol=facts.symbol,
        type=_DEAL_TYPES.get(facts.type, "other"),
        operation=DEAL_TYPE_NAMES.get(facts.type, "other"),
        entry=_DEAL_ENTRIES.get(facts.entry, "in"),
        volume=facts.volume,
        price=facts.price,
        profit=money_text(facts.profit),
        commission=money_text(facts.commission),
        swap=money_text(facts.swap),
        fee=money_text(facts.fee),
        magic=facts.magic,
        bot_id=bots.get(facts.magic),
        reason=_DEAL_REASONS.get(facts.reason, "other"),
        comment=row.comment,
        broker_time_msc=facts.time_msc,
        recorded_at=row.recorded_at,
        corrections=len(made),
    )


def present_position(row: Any, bots: Mapping[int, str]) -> PositionOut:
    """From a `TradePosition` of the terminal."""
    return PositionOut(
        ticket=row.ticket,
        symbol=row.symbol,
        side=Side.SELL if row.type else Side.BUY,
        volume=row.volume,
        price_open=row.price_open,
        price_current=row.price_current,
        stop_loss=row.sl or None,
        take_profit=row.tp or None,
        profit=money_text(money(row.profit)),
        swap=money_text(money(row.swap)),
        magic=row.magic,
        bot_id=bots.get(row.magic),
        comment=row.comment,
        broker_time=row.time,
    )


def present_pending(row: Any, bots: Mapping[int, str]) -> PendingOrderOut:
    """From a `TradeOrder` of the terminal."""
    return PendingOrderOut(
        ticket=row.ticket,
        symbol=row.symbol,
        side=order_side(row),
        type=pending_type(row),
        volume=row.volume_current,
        price=row.price_open,
        stop_limit_price=row.price_stoplimit or None,
        price_current=row.price_current,
        stop_loss=row.sl or None,
        take_profit=row.tp or None,
        expiration=lifetime_of(row),
        expires_broker_time=row.time_expiration or None,
        magic=row.magic,
        bot_id=bots.get(row.magic),
        comment=row.comment,
        broker_time=row.time_setup,
    )


def present_equity(rows: Sequence[EquitySample]) -> list[EquityPoint]:
    return [
        EquityPoint(
            at=row.at, broker_time=row.broker_time, balance=money_text(row.balance), equity=money_text(row.equity)
        )
        for row in rows
    ]


def _kind(row: Order, entries: Mapping[int, int]) -> OrderKind:
    if row.kind != OrderKind.OTHER or row.deal_ticket not in entries:
        return OrderKind(row.kind)
    return OrderKind.OPEN if entries[row.deal_ticket] == 0 else OrderKind.CLOSE
