"""The broker's book as the owner of the account sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from control_plane.db.types import money
from control_plane.money import money_text
from control_plane.trading.book_schemas import (
    CorrectionOut,
    DifferenceOut,
    HistoryOrderOut,
    ReconciliationOut,
    ReconciliationState,
    SeenPosition,
)
from control_plane.trading.model import BookDifference, DealCorrection, HistoryOrder, Reconciliation
from control_plane.trading.state import DifferenceKind, DifferenceState, Side, Subject
from mt5_bridge.contract import CONSTANT_GROUPS


def _names(group: str) -> dict[int, str]:
    return {code: name.removeprefix(f"{group}_").lower() for name, code in CONSTANT_GROUPS[group].items()}


_TYPES, _STATES, _REASONS = _names("ORDER_TYPE"), _names("ORDER_STATE"), _names("ORDER_REASON")


def present_correction(row: DealCorrection) -> CorrectionOut:
    return CorrectionOut(
        number=row.number,
        before=row.before,
        after=row.after,
        observed_at=row.observed_at,
        recorded_at=row.recorded_at,
    )


def present_history_order(row: HistoryOrder, bots: Mapping[int, str]) -> HistoryOrderOut:
    return HistoryOrderOut(
        ticket=row.ticket,
        position_ticket=row.position_id,
        symbol=row.symbol,
        type=_TYPES.get(row.type, "other"),
        state=_STATES.get(row.state, "other"),
        reason=_REASONS.get(row.reason, "other"),
        volume_initial=row.volume_initial,
        volume_left=row.volume_current,
        price_open=row.price_open,
        stop_loss=row.sl or None,
        take_profit=row.tp or None,
        magic=row.magic,
        bot_id=bots.get(row.magic),
        comment=row.comment,
        placed_broker_time_msc=row.time_setup_msc,
        done_broker_time_msc=row.time_done_msc,
        recorded_at=row.recorded_at,
    )


def present_seen_position(fields: Mapping[str, Any], bots: Mapping[int, str]) -> SeenPosition:
    return SeenPosition(
        ticket=fields["ticket"],
        symbol=fields["symbol"],
        side=Side.SELL if fields["type"] else Side.BUY,
        volume=fields["volume"],
        price_open=fields["price_open"],
        stop_loss=fields["sl"] or None,
        take_profit=fields["tp"] or None,
        swap=money_text(money(fields["swap"])),
        magic=fields["magic"],
        bot_id=bots.get(fields["magic"]),
        comment=fields["comment"],
        broker_time_msc=fields["time_msc"],
    )


def present_reconciliation(row: Reconciliation, counts: Mapping[str, int]) -> ReconciliationOut:
    return ReconciliationOut(
        state=_state(row.requested_at, row.looked_at, row),
        problem=row.problem,
        requested_at=row.requested_at,
        looked_at=row.looked_at,
        finished_at=row.finished_at,
        deals=row.deals,
        orders=row.orders,
        fetched=row.fetched,
        open_differences=counts.get(DifferenceState.OPEN, 0),
        healed_differences=counts.get(DifferenceState.HEALED, 0),
    )


def _state(requested_at: datetime | None, looked_at: datetime | None, row: Reconciliation) -> ReconciliationState:
    if requested_at is not None and (looked_at is None or requested_at >= looked_at):
        return ReconciliationState.WAITING
    if looked_at is None:
        return ReconciliationState.NEVER
    if row.problem:
        return ReconciliationState.FAILED
    return ReconciliationState.COMPLETE if row.look_again_at is None else ReconciliationState.CHECKING


_NOUNS = {Subject.DEAL: "Deal", Subject.ORDER: "Order"}


def present_difference(row: BookDifference) -> DifferenceOut:
    return DifferenceOut(
        id=row.id,
        subject=Subject(row.subject),
        kind=DifferenceKind(row.kind),
        ticket=row.ticket,
        state=DifferenceState(row.state),
        note=_note(row),
        here=row.here,
        there=row.there,
        found_at=row.found_at,
        settled_at=row.settled_at,
    )


def _note(row: BookDifference) -> str:
    if row.kind == DifferenceKind.UNBALANCED:
        off = Decimal(row.there["balance"]) - Decimal(row.here["sum_of_deals"])
        return f"The broker shows a balance that is {money_text(off)} away from the sum of its own deals."
    what = f"{_NOUNS[Subject(row.subject)]} {row.ticket}"
    match DifferenceKind(row.kind):
        case DifferenceKind.MISSING_HERE:
            return f"{what} was missing here and has been recorded."
        case DifferenceKind.MISSING_THERE:
            return f"{what} is in the log, but the broker does not show it any more. Ask the broker why."
        case DifferenceKind.EDITED:
            return f"{what} was edited by the broker: {', '.join(sorted(row.there)).replace('_', ' ')}."
        case _:
            return f"The broker shows {what.lower()} more than once. It counts once here."
