"""Which requests get out of the market or take access away: they have a budget that no other request can use up."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    ORDINARY = "ordinary"
    EXIT = "exit"


_EXITS = frozenset(
    {
        "POST /accounts/{account_id}/positions/{ticket}/close",
        "POST /accounts/{account_id}/kill",
        "POST /kill-switches",
        "POST /kill-switches/fleet",
        "POST /kill-switches/tenant",
        "POST /members/{user_id}/kill",
        "POST /accounts/{account_id}/positions/{ticket}/close-by",
        "POST /accounts/{account_id}/positions/close-all",
        "POST /accounts/{account_id}/pending-orders/{ticket}/cancel",
        "POST /accounts/{account_id}/pending-orders/cancel-all",
        "POST /accounts/{account_id}/undeploy",
        "POST /accounts/{account_id}/end-sessions",
        "DELETE /accounts/{account_id}/tickets/{ticket_id}",
        "POST /bots/{bot_id}/stop",
        "POST /bots/{bot_id}/pause",
        "POST /bots/{bot_id}/finish",
        "POST /copiers/{copier_id}/stop",
        "POST /backtests/{backtest_id}/cancel",
        "DELETE /bots/{bot_id}",
        "POST /auth/sign-out-everywhere",
        "DELETE /auth/sessions/{session_id}",
        "POST /auth/sessions/end-others",
        "DELETE /auth/api-keys/{key_id}",
    }
)


def lane_of(method: str, template: str) -> Lane:
    """`template` is the path of the route without the prefix of the API."""
    return Lane.EXIT if f"{method} {template}" in _EXITS else Lane.ORDINARY


def exits() -> frozenset[str]:
    """Method and path of every route in the exit lane."""
    return _EXITS
