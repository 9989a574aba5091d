"""The WebSocket through which a browser looks at a terminal's screen."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from control_plane.container import Farm
from control_plane.errors import ConflictError, FarmError, ForbiddenError
from control_plane.fleet import repository as fleet_repository
from control_plane.fleet.state import IdentityState
from control_plane.identity.cookies import SESSION_COOKIE
from control_plane.identity.model import User
from control_plane.middleware import comes_from_our_pages
from control_plane.problems import problem_response
from node_agent.protocol.tickets import Scope, Ticket, TicketError

router = APIRouter(tags=["access"])
_TICKET_SECONDS: Final = 10.0
_REFUSED: Final = 4403
_ENDED: Final = 4410
_LONGEST_REASON: Final = 120
"""Bytes; the protocol allows 123."""


class _Browser:
    """Implements `screens.Viewer`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes | None:
        message = await self._websocket.receive()
        data = message.get("bytes")
        return data if message["type"] == "websocket.receive" and data is not None else None

    async def send(self, data: bytes) -> None:
        await self._websocket.send_bytes(data)


@router.websocket("/screen")
async def show_screen(websocket: WebSocket) -> None:
    """First the browser sends a ticket of scope `view` as text; `{"ok": true}` comes back, then the screen (RFB).

    Closes with 4403 and the reason when the screen is not shown, and with 4410 when the view has ended.
    """
    farm: Farm = websocket.app.state.farm
    try:
        user = await to_thread.run_sync(_who_looks, farm, websocket)
    except FarmError as error:
        await websocket.send_denial_response(problem_response(error))
        return
    await websocket.accept()
    try:
        await _show(farm, websocket, user)
        await websocket.close(_ENDED, "The view has ended.")
    except FarmError as error:
        await websocket.close(_REFUSED, error.detail.encode()[:_LONGEST_REASON].decode(errors="ignore"))
    except (WebSocketDisconnect, RuntimeError, OSError):
        return  # the browser has gone


async def _show(farm: Farm, websocket: WebSocket, user: User) -> None:
    try:
        async with asyncio.timeout(_TICKET_SECONDS):
            text = await websocket.receive_text()
    except (TimeoutError, KeyError) as error:
        raise ForbiddenError("No ticket came.") from error
    ticket, gateway = await to_thread.run_sync(_check, farm, user, text)

    async def still_allowed() -> bool:
        try:
            now = await to_thread.run_sync(_who_looks, farm, websocket)
        except FarmError:
            return False
        return (now.id, now.role) == (user.id, user.role)

    async with farm.screens.open(ticket, text, gateway) as link:
        await websocket.send_text(json.dumps({"ok": True}))
        await link.carry(_Browser(websocket), still_allowed)


def _who_looks(farm: Farm, websocket: WebSocket) -> User:
    """By the session alone: programs take their ticket to the gateway. Raises FarmError."""
    caller = farm.sessions.authenticate(websocket.cookies.get(SESSION_COOKIE))
    if not comes_from_our_pages(websocket.headers):
        raise ForbiddenError("The request must come from the farm's own pages.", code="foreign_origin")
    with farm.database.read(caller.user.tenant_id) as session:
        farm.second_factors.require_role_proof(session, caller)
    return caller.user


def _check(farm: Farm, user: User, text: str) -> tuple[Ticket, str]:
    """The ticket, and where its node's gateway is. Raises FarmError."""
    try:
        ticket = farm.tickets.read(text)
    except TicketError as error:
        raise ForbiddenError(f"The screen is not shown: {error}.", code=error.code) from error
    if ticket.scope is not Scope.VIEW or ticket.principal != f"user:{user.id}":
        raise ForbiddenError("The screen is not shown: the ticket is for something else.", code="ticket_other_scope")
    with farm.database.read(user.tenant_id) as session:
        node = fleet_repository.node(session, ticket.node_id)
        if node is None or node.identity_state != IdentityState.TRUSTED:
            raise ConflictError("The terminal's node is not trusted at the moment.", code="terminal_not_ready")
        return ticket, node.gateway_address
