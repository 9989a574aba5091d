"""Listens with TLS 1.3 and carries bytes between admitted clients and their workers."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from node_agent.gateway import hello
from node_agent.gateway.admission import Admission
from node_agent.gateway.configuration import GatewayConfig, Route, Routes, split_address
from node_agent.gateway.hello import RefusedError
from node_agent.protocol.tickets import Ticket

_log = structlog.get_logger(__name__)
_CHUNK = 64 * 1024
_CLOSE_SECONDS = 2.0


@dataclass(frozen=True)
class Session:
    """An admitted client."""

    ticket: Ticket
    task: asyncio.Task[None]


class GatewayServer:
    """One listening socket. Runs on the event loop that made it."""

    def __init__(self, config: GatewayConfig, admission: Admission, token_of: Callable[[Route], str]) -> None:
        self._config = config
        self._admission = admission
        self._token_of = token_of
        self._sessions: dict[str, Session] = {}
        self._server: asyncio.Server | None = None

    async def listen(self) -> str:
        """Returns the address it listens on. Raises OSError when the port is taken, ssl.SSLError for a bad key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self._config.certificate, self._config.key)
        host, port = split_address(self._config.listen)
        self._server = await asyncio.start_server(
            self._serve, host, port, ssl=context, ssl_handshake_timeout=self._config.hello_timeout, limit=hello.MAX_LINE
        )
        address = self._server.sockets[0].getsockname()
        return f"{host}:{address[1]}"

    async def close(self) -> None:
        """End all sessions."""
        if self._server is not None:
            self._server.close()
        tasks = [session.task for session in self._sessions.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def end_stale_sessions(self, routes: Routes) -> None:
        """End sessions whose terminal has gone or has a higher epoch: they are fenced off."""
        for session_id, session in self._sessions.items():
            route = routes.terminals.get(session.ticket.terminal_id)
            if route is None or route.epoch > session.ticket.epoch:
                _log.info("session_fenced", session=session_id, terminal=session.ticket.terminal_id)
                session.task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _detect_dead_peer(writer)
            await self._converse(reader, writer)
        except RefusedError as refusal:
            _log.info("session_refused", code=refusal.code)
            with suppress(OSError):
                writer.write(hello.refused(refusal))
                await asyncio.wait_for(writer.drain(), _CLOSE_SECONDS)
        except OSError as error:
            _log.debug("connection_lost", error=type(error).__name__)
        except asyncio.CancelledError:
            # Ours: the session was fenced off or the gateway ends. The task has nothing left to do but to close.
            _log.debug("session_cancelled")
        finally:
            await _close(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._config.hello_timeout):
                line = await hello.read_line(reader)
        except TimeoutError as error:
            raise RefusedError("hello_timeout", "no hello came in time") from error
        ticket, route = self._admission.admit(hello.ticket_text(line))
        try:
            await self._open_session(ticket, route, reader, writer)
        finally:
            self._admission.leave(ticket.terminal_id)

    async def _open_session(
        self, ticket: Ticket, route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        worker_reader, worker_writer = await self._reach_worker(ticket, route)
        session_id = f"ses_{secrets.token_hex(8)}"
        task = asyncio.current_task()
        assert task is not None
        self._sessions[session_id] = Session(ticket, task)
        log = _log.bind(session=session_id, terminal=ticket.terminal_id, scope=ticket.scope.value)
        log.info("session_opened", principal=ticket.principal)
        try:
            writer.write(hello.accepted(ticket, session_id))
            await _carry_both_ways(reader, writer, worker_reader, worker_writer)
        finally:
            del self._sessions[session_id]
            await _close(worker_writer)
            log.info("session_closed")

    async def _reach_worker(self, ticket: Ticket, route: Route) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which the worker has accepted our hello. Raises RefusedError."""
        down = RefusedError("worker_down", "the terminal's bridge does not answer at the moment; try again")
        try:
            async with asyncio.timeout(self._config.worker_timeout):
                reader, writer = await asyncio.open_unix_connection(str(route.worker), limit=_CHUNK)
                try:
                    writer.write(hello.worker_hello(ticket, self._token_of(route)))
                    hello.check_worker_answer(await hello.read_line(reader))
                except BaseException:
                    writer.close()
                    raise
        except (OSError, ValueError) as error:
            raise down from error
        return reader, writer


async def _carry_both_ways(
    client_reader: asyncio.StreamReader,
    client_writer: asyncio.StreamWriter,
    worker_reader: asyncio.StreamReader,
    worker_writer: asyncio.StreamWriter,
) -> None:
    """Until either side ends. A slow reader slows its writer, so that little is held in memory."""
    pumps = [
        asyncio.create_task(_carry(client_reader, worker_writer)),
        asyncio.create_task(_carry(worker_reader, client_writer)),
    ]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()


def _detect_dead_peer(writer: asyncio.StreamWriter) -> None:
    """A client whose machine vanished must not keep its place: the kernel asks after 30 s of silence."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if number := getattr(socket, option, None):
            connection.setsockopt(socket.IPPROTO_TCP, number, value)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(writer.wait_closed(), _CLOSE_SECONDS)
