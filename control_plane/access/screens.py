"""Terminals' screens for browsers, which neither know the farm's CA nor speak raw TLS: handed on from the gateway.

Nothing of what passes is looked at. It is the remote framebuffer protocol (RFC 6143), and whether anybody may see it is
the gateway's to judge, by the ticket. A slow browser slows the gateway, so that little is held in memory.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

import structlog

from control_plane.errors import ConflictError, TooManyRequestsError
from node_agent.protocol.tickets import Ticket

_HELLO_BYTES: Final = 4096
_CHUNK: Final = 64 * 1024
_DIAL_SECONDS: Final = 10.0
_log = structlog.get_logger(__name__)


class Viewer(Protocol):
    """A browser that looks. Both raise OSError or RuntimeError once it has gone."""

    async def receive(self) -> bytes | None:
        """What it says next; None when it has gone."""
        ...

    async def send(self, data: bytes) -> None:
        """Waits while the browser takes nothing."""
        ...


class Link:
    """A view that the gateway has opened."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask_every: float) -> None:
        self._reader = reader
        self._writer = writer
        self._ask_every = ask_every

    async def carry(self, viewer: Viewer, still_allowed: Callable[[], Awaitable[bool]]) -> None:
        """Until either side ends, or who looks may do so no more."""
        ways = [asyncio.create_task(each) for each in (self._to_viewer(viewer), self._from_viewer(viewer))]
        ended: set[asyncio.Task[None]] = set()
        try:
            while not ended and await still_allowed():
                ended, _ = await asyncio.wait(ways, timeout=self._ask_every, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _to_viewer(self, viewer: Viewer) -> None:
        while data := await self._reader.read(_CHUNK):
            await viewer.send(data)

    async def _from_viewer(self, viewer: Viewer) -> None:
        while (data := await viewer.receive()) is not None:
            self._writer.write(data)
            await self._writer.drain()


class Screens:
    """Views of this process. Used on the event loop alone."""

    def __init__(self, ca_pem: str, most: int = 100, most_of_one: int = 8, ask_every: float = 15.0) -> None:
        """`ask_every` is after how many seconds it is asked again whether who looks may still do so."""
        self._ca_pem = ca_pem
        self._ask_every = ask_every
        self._most = most
        self._most_of_one = most_of_one
        self._open: Counter[str] = Counter()

    @asynccontextmanager
    async def open(self, ticket: Ticket, ticket_text: str, gateway: str) -> AsyncIterator[Link]:
        """Redeem the ticket at its node. Raises ConflictError with the gateway's reason, TooManyRequestsError."""
        if self._open.total() >= self._most or self._open[ticket.principal] >= self._most_of_one:
            raise TooManyRequestsError("Too many screens are open; close one, or try again later.", code="busy")
        self._open[ticket.principal] += 1
        log = _log.bind(terminal=ticket.terminal_id, ticket=ticket.ticket_id, principal=ticket.principal)
        try:
            reader, writer = await self._dial(ticket, ticket_text, gateway)
            try:
                log.info("view_opened")
                yield Link(reader, writer, self._ask_every)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
                log.info("view_closed")
        finally:
            self._open[ticket.principal] -= 1
            self._open = +self._open

    async def _dial(
        self, ticket: Ticket, ticket_text: str, gateway: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = gateway.rpartition(":")
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                reader, writer = await asyncio.open_connection(
                    host.strip("[]"), int(port), ssl=self._context(), server_hostname=ticket.node_id, limit=_CHUNK
                )
                hello = {"v": 1, "ticket": ticket_text, "channel": "screen"}
                writer.write(json.dumps(hello).encode() + b"\n")
                answer = json.loads(await reader.readuntil(b"\n"))
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            _log.warning("screen_unreachable", node=ticket.node_id, error=type(error).__name__)
            raise ConflictError(
                "The terminal's node cannot be reached right now; please try again.", code="terminal_not_ready"
            ) from error
        if not answer.get("ok"):
            writer.close()
            raise ConflictError(f"The screen was not shown: {answer.get('message')}.", code=str(answer.get("code")))
        return reader, writer

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._ca_pem)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context
