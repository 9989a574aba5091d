"""Sessions with terminals through their nodes' gateways: TLS, a ticket of our own, the drop-in client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from control_plane.access.port import LinkLostError, RefusedError, Target, TerminalSession
from control_plane.access.service import not_ready
from control_plane.access.tickets import TicketIssuer
from control_plane.logs import present_request
from mt5_bridge.client import BridgeError, MetaTrader5
from mt5_bridge.history_digest import Digests
from node_agent.protocol.tickets import Scope

_BUSY_SECONDS = 2.0
"""A healthy call takes milliseconds, so that waiting longer would only pile up threads behind a wedged terminal."""
_IDLE_SECONDS = 60.0
_log = structlog.get_logger(__name__)


class BridgeSession:
    """One connection, with the client's errors turned into ours."""

    def __init__(self, client: MetaTrader5) -> None:
        self._client = client

    def symbols_get(self) -> tuple[Any, ...] | None:
        symbols: tuple[Any, ...] | None = self._ask(self._client.symbols_get)
        return symbols

    def symbol_info(self, symbol: str) -> Any:
        return self._ask(self._client.symbol_info, symbol)

    def symbol_info_tick(self, symbol: str) -> Any:
        return self._ask(self._client.symbol_info_tick, symbol)

    def symbol_select(self, symbol: str, enable: bool) -> Any:
        return self._ask(self._client.symbol_select, symbol, enable)

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
        return self._ask(self._client.copy_rates_from_pos, symbol, timeframe, start, count)

    def positions_get(self) -> tuple[Any, ...] | None:
        positions: tuple[Any, ...] | None = self._ask(self._client.positions_get)
        return positions

    def position(self, ticket: int) -> Any:
        found = self._ask(self._client.positions_get, ticket=ticket)
        return found[0] if found else None

    def account_info(self) -> Any:
        return self._ask(self._client.account_info)

    def history_deals_get(self, date_from: int, date_to: int) -> tuple[Any, ...] | None:
        deals: tuple[Any, ...] | None = self._ask(self._client.history_deals_get, date_from, date_to)
        return deals

    def history_orders_get(self, date_from: int, date_to: int) -> tuple[Any, ...] | None:
        orders: tuple[Any, ...] | None = self._ask(self._client.history_orders_get, date_from, date_to)
        return orders

    def history_digests(self, subject: Literal["deals", "orders"], date_from: int, date_to: int) -> Digests | None:
        found: Digests | None = self._ask(self._client.history_digests, subject, date_from, date_to)
        return found

    def orders_get(self) -> tuple[Any, ...] | None:
        orders: tuple[Any, ...] | None = self._ask(self._client.orders_get)
        return orders

    def pending_order(self, ticket: int) -> Any:
        found = self._ask(self._client.orders_get, ticket=ticket)
        return found[0] if found else None

    def order_check(self, request: Mapping[str, Any]) -> Any:
        return self._ask(self._client.order_check, dict(request))

    def order_calc_margin(self, action: int, symbol: str, volume: float, price: float) -> float | None:
        margin: float | None = self._ask(self._client.order_calc_margin, action, symbol, volume, price)
        return margin

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float
    ) -> float | None:
        profit: float | None = self._ask(
            self._client.order_calc_profit, action, symbol, volume, price_open, price_close
        )
        return profit

    def send_once(self, client_order_id: str, request: Mapping[str, Any]) -> Any:
        return self._ask(self._client.send_once, client_order_id, dict(request), trace=present_request())

    def outcome(self, client_order_id: str) -> Mapping[str, Any] | None:
        row = self._ask(self._client.outcome, client_order_id)
        return None if row is None else dict(row)

    def give_up(self, client_order_id: str) -> Mapping[str, Any]:
        return dict(self._ask(self._client.give_up, client_order_id))

    def close(self) -> None:
        with suppress(OSError, EOFError, BridgeError):
            self._client.close()

    @staticmethod
    def _ask(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BridgeError as error:
            raise RefusedError(error.code, error.message) from error
        except (ConnectionError, EOFError, TimeoutError) as error:
            raise LinkLostError(str(error)) from error


@dataclass
class _Slot:
    """The place of one pooled connection; its lock is held while somebody uses it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    session: BridgeSession | None = None
    used_at: float = 0.0
    retired: bool = False
    """No longer in the pool; whoever waited for it has to ask for the place again."""


class BridgeDoor:
    """A small pool: one connection per terminal, epoch, scope and principal, closed when idle."""

    def __init__(
        self,
        tickets: TicketIssuer,
        ca_pem: str,
        connect: Callable[..., MetaTrader5] = MetaTrader5,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tickets = tickets
        self._ca_pem = ca_pem
        self._connect = connect
        self._now = now
        self._lock = threading.Lock()
        self._slots: dict[tuple[Target, Scope, str], _Slot] = {}

    @contextmanager
    def session(self, target: Target, scope: Scope, principal: str) -> Iterator[TerminalSession]:
        slot = self._take(target, scope, principal)
        try:
            if slot.session is None:
                slot.session = self._dial(target, scope, principal)
            yield slot.session
        except LinkLostError:
            if slot.session is not None:
                slot.session.close()
                slot.session = None
            raise
        finally:
            slot.used_at = self._now()
            slot.lock.release()

    def close_idle(self) -> None:
        """Close what nobody has used for a minute, also sessions of epochs that are over."""
        self._close_unused_since(self._now() - _IDLE_SECONDS)

    def close(self) -> None:
        self._close_unused_since(float("inf"))

    def _take(self, target: Target, scope: Scope, principal: str) -> _Slot:
        """The place of this connection, locked."""
        while True:
            with self._lock:
                slot = self._slots.setdefault((target, scope, principal), _Slot())
            if not slot.lock.acquire(timeout=_BUSY_SECONDS):
                raise not_ready("The terminal is busy; please try again in a moment.")
            if not slot.retired:
                return slot
            slot.lock.release()

    def _close_unused_since(self, moment: float) -> None:
        with self._lock:
            slots = list(self._slots.items())
        for key, slot in slots:
            if slot.used_at < moment and slot.lock.acquire(blocking=False):
                try:
                    self._retire(key, slot)
                finally:
                    slot.lock.release()

    def _retire(self, key: tuple[Target, Scope, str], slot: _Slot) -> None:
        with self._lock:
            self._slots.pop(key, None)
        slot.retired = True
        if slot.session is not None:
            slot.session.close()
            slot.session = None

    def _dial(self, target: Target, scope: Scope, principal: str) -> BridgeSession:
        ticket = self._tickets.issue(target, scope, principal)
        # The gateway logs the ticket's id as well, with its session.
        _log.info("terminal_dialled", terminal=target.terminal_id, node=target.node_id, ticket=ticket.ticket_id)
        try:
            client = self._connect(
                target.gateway_address, ticket=ticket.text, ca=self._ca_pem, server_name=target.node_id
            )
        except (BridgeError, OSError, EOFError) as error:
            code = error.code if isinstance(error, BridgeError) else type(error).__name__
            _log.warning("terminal_unreachable", terminal=target.terminal_id, node=target.node_id, error=code)
            raise not_ready("The terminal cannot be reached right now; please try again.") from error
        return BridgeSession(client)
