"""Whether a hello opens a session: the ticket, its one use, its epoch, and room."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable

from node_agent.clock import Clock
from node_agent.gateway.configuration import GatewayConfig, Route, Routes
from node_agent.gateway.hello import RefusedError
from node_agent.gateway.redeemed import RedeemedTickets
from node_agent.protocol.tickets import Scope, Ticket, TicketError, verify


class Admission:
    """Judges hellos, from any thread. `routes` answers the newest routes."""

    def __init__(
        self, config: GatewayConfig, routes: Callable[[], Routes], redeemed: RedeemedTickets, clock: Clock
    ) -> None:
        self._config = config
        self._routes = routes
        self._redeemed = redeemed
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._clients: Counter[tuple[str, str]] = Counter()
        self._views: Counter[str] = Counter()
        self._viewers: Counter[tuple[str, str]] = Counter()
        self._counting = threading.Lock()

    def admit(self, ticket_text: str, *, screen: bool = False) -> tuple[Ticket, Route]:
        """Redeem the ticket and take a place for its session; `leave` gives the place back. Raises RefusedError.

        `screen` says that the session is to show the terminal's screen, and not to reach its bridge.
        """
        routes = self._routes()
        try:
            ticket = verify(ticket_text, routes.keys, self._config.node_id)
        except TicketError as error:
            raise RefusedError(error.code, str(error)) from error
        if (ticket.scope is Scope.VIEW) is not screen:
            raise RefusedError("ticket_other_scope", "the ticket does not permit this; ask for one of the right scope")
        route = routes.terminals.get(ticket.terminal_id)
        if route is None:
            raise RefusedError("terminal_not_here", "this node does not run the terminal")
        if ticket.epoch < route.epoch:
            raise RefusedError(
                "stale_epoch", "the terminal was assigned anew after the ticket was issued; ask for a new one"
            )
        if ticket.epoch > route.epoch:
            raise RefusedError(
                "terminal_not_here", "this node has not heard of the terminal's new assignment yet; try again"
            )
        if ticket.access_epoch < route.access_epoch or ticket.ticket_id in routes.revoked:
            raise RefusedError("ticket_revoked", "the permission has been taken back; ask for a new ticket")
        with self._counting:
            self._check_room(ticket)
            self._redeem(ticket)
            self._count(ticket, 1)
        return ticket, route

    def leave(self, ticket: Ticket) -> None:
        with self._counting:
            self._count(ticket, -1)
            # Without what counts nothing any more.
            self._open, self._clients = +self._open, +self._clients
            self._views, self._viewers = +self._views, +self._viewers

    def _count(self, ticket: Ticket, step: int) -> None:
        self._open[ticket.terminal_id] += step
        self._clients[_client(ticket)] += step
        if ticket.scope is Scope.VIEW:
            self._views[ticket.terminal_id] += step
            self._viewers[_client(ticket)] += step

    def _check_room(self, ticket: Ticket) -> None:
        full = self._open.total() >= self._config.max_sessions
        full = full or self._open[ticket.terminal_id] >= self._config.max_sessions_per_terminal
        if full or self._clients[_client(ticket)] >= self._config.max_sessions_per_client:
            raise RefusedError("busy", "too many sessions are open; close one or try again later")
        if ticket.scope is Scope.VIEW and (
            self._views[ticket.terminal_id] >= self._config.max_views_per_terminal
            or self._viewers[_client(ticket)] >= self._config.max_views_per_client
        ):
            raise RefusedError("busy", "the screen is open too often; close it elsewhere or try again later")

    def _redeem(self, ticket: Ticket) -> None:
        try:
            first = self._redeemed.redeem(ticket.ticket_id, self._clock())
        except sqlite3.Error as error:
            raise RefusedError("busy", "the gateway cannot record tickets at the moment; try again later") from error
        if not first:
            raise RefusedError("ticket_used", "the ticket was used before; ask for a new one")


def _client(ticket: Ticket) -> tuple[str, str]:
    return ticket.terminal_id, ticket.principal
