"""What the control plane needs from a terminal, so that tests can put another thing in its place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mt5_bridge.history_digest import Digests
from node_agent.protocol.tickets import Scope

SERVICE_PRINCIPAL = "service:control-plane"


class LinkLostError(Exception):
    """The link to the terminal broke. What was being asked may or may not have happened."""


class RefusedError(Exception):
    """The bridge refused a call. `code` is one of the bridge's own; the text is safe to show."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Target:
    """A terminal and how to reach it."""

    terminal_id: str
    node_id: str
    gateway_address: str
    epoch: int
    access_epoch: int = 0
    """Of the terminal; sessions of a lower one end."""


class TerminalSession(Protocol):
    """The functions of the official API that the control plane calls itself, with their own shapes.

    Every method raises LinkLostError or RefusedError, and gives None where the terminal had no answer.
    """

    def symbols_get(self) -> tuple[Any, ...] | None: ...
    def symbol_info(self, symbol: str) -> Any: ...
    def symbol_info_tick(self, symbol: str) -> Any: ...
    def symbol_select(self, symbol: str, enable: bool) -> Any: ...
    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any: ...
    def positions_get(self) -> tuple[Any, ...] | None: ...
    def position(self, ticket: int) -> Any: ...
    def history_deals_get(self, date_from: int, date_to: int) -> tuple[Any, ...] | None: ...
    def history_orders_get(self, date_from: int, date_to: int) -> tuple[Any, ...] | None: ...

    def history_digests(self, subject: Literal["deals", "orders"], date_from: int, date_to: int) -> Digests | None:
        """Of the broker's book by periods; see `mt5_bridge.history_digest`. A worker that is older than this function
        raises RefusedError `not_allowed`.
        """
        ...

    def orders_get(self) -> tuple[Any, ...] | None: ...
    def pending_order(self, ticket: int) -> Any: ...
    def account_info(self) -> Any: ...
    def order_check(self, request: Mapping[str, Any]) -> Any: ...
    def order_calc_margin(self, action: int, symbol: str, volume: float, price: float) -> float | None: ...

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float
    ) -> float | None: ...

    def send_once(self, client_order_id: str, request: Mapping[str, Any]) -> Any:
        """`order_send` that a repeated id never repeats. Gives an OrderSendResult or None."""
        ...

    def outcome(self, client_order_id: str) -> Mapping[str, Any] | None:
        """The row of the bridge's journal; None when it has never seen the id."""
        ...

    def give_up(self, client_order_id: str) -> Mapping[str, Any]:
        """The row of the bridge's journal. An id that it has never seen is not sent from now on."""
        ...


class TerminalDoor(Protocol):
    """Opens sessions with terminals."""

    def session(self, target: Target, scope: Scope, principal: str) -> AbstractContextManager[TerminalSession]:
        """One caller at a time. Raises ConflictError `terminal_not_ready` when it cannot be opened.

        A LinkLostError raised inside makes the next call open a fresh one.
        """
        ...

    def close_idle(self) -> None:
        """Close sessions that nobody has used for a while."""
        ...

    def close(self) -> None: ...
