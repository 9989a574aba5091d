"""What an answer of the bridge means for an order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from control_plane.access.port import RefusedError
from control_plane.trading.state import OrderState
from mt5_bridge.contract import RETCODES
from node_agent.protocol.messages import OrderBody

_EXECUTED = frozenset({10008, 10009, 10010})
_UNDECIDED = frozenset({10011, 10012, 10031})
"""A processing error, a time-out, no connection: the order may have been carried out. The bridge's journal decides."""

_UNDECIDED_REFUSALS = frozenset({"deadline", "terminal_lost", "outcome_unknown"})

UNKNOWN_MESSAGE = "The answer was lost on the way; the farm is finding out what the broker did."
STILL_UNKNOWN_MESSAGE = "The farm could not find out what became of this order. Please check your open positions."
NOT_EXECUTED_MESSAGE = "The order never reached the broker. Nothing was traded."

_WORDS = {
    10004: "The price has changed; please try again.",
    10006: "The broker rejected the order.",
    10007: "The order was cancelled.",
    10008: "The order is placed.",
    10009: "Done.",
    10010: "Only a part of the volume was filled.",
    10011: "The broker could not process the order.",
    10012: "The broker did not answer in time.",
    10013: "The broker calls the request invalid.",
    10014: "The broker calls the volume invalid.",
    10015: "The broker calls the price invalid.",
    10016: "The stop loss or take profit is on the wrong side or too close to the price.",
    10017: "Trading is disabled for this account or symbol.",
    10018: "The market is closed.",
    10019: "There is not enough free margin.",
    10020: "The price has changed; please try again.",
    10021: "There is no price for this symbol at the moment.",
    10022: "The broker calls the order's expiration invalid.",
    10023: "The order has changed meanwhile; please look again.",
    10024: "Too many requests; please wait a moment.",
    10025: "It is exactly like that already; nothing was changed.",
    10026: "The broker does not allow algorithmic trading on this account.",
    10027: "Algorithmic trading is switched off in the terminal.",
    10029: "The market is too close to a level of it, so it cannot be changed now.",
    10030: "The broker does not support this way of filling the order.",
    10031: "The terminal has no connection to the broker.",
    10032: "This is only allowed on accounts with real money.",
    10033: "The limit of pending orders is reached.",
    10034: "The volume limit for this symbol is reached.",
    10035: "The broker does not take this type of order for this symbol.",
    10036: "The position is already closed.",
    10038: "The volume is larger than that of the position.",
    10039: "An order that closes this position is there already.",
    10040: "The limit of open positions is reached.",
    10041: "The order was rejected when it was to be carried out, and cancelled.",
    10042: "This symbol can only be bought.",
    10043: "This symbol can only be sold.",
    10044: "Only closing is allowed for this symbol.",
    10045: "The oldest position of the symbol has to be closed first.",
    10046: "This account cannot hold positions in both directions.",
}

_REFUSAL_WORDS = {
    "wrong_account": "The terminal is logged in to another account, so nothing was sent.",
    "stale_epoch": "The terminal was just moved; please try again.",
    "busy": "The terminal is busy; nothing was sent. Please try again.",
}


@dataclass(frozen=True)
class Outcome:
    """What is known of an order now."""

    state: OrderState
    message: str
    retcode: int = 0
    order_ticket: int = 0
    deal_ticket: int = 0
    price: float = 0.0
    volume: float = 0.0


GUARD_MESSAGES = frozenset(words for code, words in _REFUSAL_WORDS.items() if code.startswith("guard_"))
"""What an order says that the limits of its account refused."""

UNKNOWN = Outcome(OrderState.UNKNOWN, UNKNOWN_MESSAGE)
NOT_EXECUTED = Outcome(OrderState.NOT_EXECUTED, NOT_EXECUTED_MESSAGE)


def of_person(happened: bool, note: str) -> Outcome:
    """From somebody who has looked at the broker."""
    words = "Somebody has looked: it did happen." if happened else "Somebody has looked: it did not happen."
    return Outcome(OrderState.DONE if happened else OrderState.NOT_EXECUTED, f"{words} {note}".rstrip())


def retcode_name(retcode: int) -> str:
    return RETCODES.get(retcode, "") if retcode else ""


def words_for(retcode: int, fallback: str) -> str:
    return _WORDS.get(retcode) or fallback or retcode_name(retcode) or "The broker refused the order."


def of_result(result: Any) -> Outcome:
    """From an OrderSendResult."""
    if result.retcode in _UNDECIDED:
        return Outcome(OrderState.UNKNOWN, UNKNOWN_MESSAGE, retcode=result.retcode)
    return Outcome(
        OrderState.DONE if result.retcode in _EXECUTED else OrderState.REFUSED,
        words_for(result.retcode, result.comment),
        result.retcode,
        result.order,
        result.deal,
        result.price,
        result.volume,
    )


def of_refusal(refusal: RefusedError) -> Outcome:
    """From a refusal of the bridge; most say that nothing was sent, some do not."""
    if refusal.code in _UNDECIDED_REFUSALS:
        return UNKNOWN
    if refusal.code == "not_executed":
        return NOT_EXECUTED
    return Outcome(OrderState.REFUSED, _refused(refusal.code, refusal.message))


def _refused(code: str, text: str) -> str:
    """A guard's words name the limit, the figure and what would be allowed."""
    return f"Not sent: {text}." if _is_limit(code) else _REFUSAL_WORDS.get(code, f"Nothing was sent: {text}.")


def _is_limit(code: str) -> bool:
    return code.startswith("guard_")


def of_journal(row: Mapping[str, Any]) -> Outcome:
    """From a row of the bridge's journal."""
    return _of_record(
        str(row["state"]),
        int(row.get("retcode") or 0),
        int(row.get("order") or 0),
        int(row.get("deal") or 0),
        float(row.get("price") or 0.0),
        str(row.get("code") or ""),
        str(row.get("text") or row.get("comment") or ""),
    )


def of_event(body: OrderBody) -> Outcome:
    """From a journal row that the agent reported."""
    return _of_record(body.state, body.retcode, body.order, body.deal, body.price, "", body.comment)


def _of_record(state: str, retcode: int, order: int, deal: int, price: float, code: str, text: str) -> Outcome:
    known = OrderState.PENDING if state == "journaled" else OrderState(state)
    match known:
        case OrderState.NOT_EXECUTED:
            message = NOT_EXECUTED_MESSAGE
        case OrderState.UNKNOWN:
            message = UNKNOWN_MESSAGE
        case OrderState.DONE | OrderState.REFUSED:
            message = _refused(code, text) if code in _REFUSAL_WORDS or _is_limit(code) else words_for(retcode, text)
        case _:
            message = ""
    return Outcome(known, message, retcode, order, deal, price)
