"""When an open session must end. Pure: asked of each session whenever the routes are looked at."""

from __future__ import annotations

from node_agent.gateway.configuration import Routes
from node_agent.protocol.tickets import Ticket


def ending(ticket: Ticket, age: float, routes: Routes, longest: float) -> str | None:
    """Why the session that `ticket` opened `age` seconds ago must end now; None while it may go on.

    `longest` is how many seconds a session may last: then its holder must show that it may still have a new ticket.
    """
    route = routes.terminals.get(ticket.terminal_id)
    if route is None:
        return "terminal_gone"
    if route.epoch > ticket.epoch:
        return "stale_epoch"
    if route.access_epoch > ticket.access_epoch:
        return "access_ended"
    if ticket.ticket_id in routes.revoked:
        return "ticket_revoked"
    return "too_old" if age >= longest else None
