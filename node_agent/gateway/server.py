"""Listens with TLS 1.3 and opens sessions between admitted clients and their workers, one thread for each session."""

from __future__ import annotations

import os
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from mt5_bridge import auth
from mt5_bridge.addresses import Address
from node_agent.gateway import hello
from node_agent.gateway.admission import Admission
from node_agent.gateway.carrying import carry_both_ways
from node_agent.gateway.configuration import GatewayConfig, Route, Routes, split_address
from node_agent.gateway.door import Door
from node_agent.gateway.endings import ending
from node_agent.gateway.figures import GatewayFigures, Tally
from node_agent.gateway.hello import RefusedError
from node_agent.protocol.tickets import Scope, Ticket

_log = structlog.get_logger(__name__)
_CLOSE_SECONDS = 2.0
_DRAIN = 64 * 1024


@dataclass(eq=False)
class Conversation:
    """One connection: a stranger until its ticket is redeemed, then a session."""

    sock: socket.socket
    since: float
    """time.monotonic() when it came."""
    address: str = ""
    """Where it comes from."""
    ticket: Ticket | None = None
    opened: float = 0.0
    """time.monotonic() when its ticket was redeemed."""
    worker: socket.socket | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)

    def cut(self) -> None:
        """Wake and end its thread. From any thread; TLS itself is not touched, for the thread may be inside it."""
        for sock in (self.sock, self.worker):
            if sock is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class GatewayServer:
    """One listening socket."""

    def __init__(self, config: GatewayConfig, admission: Admission, token_of: Callable[[Route], str]) -> None:
        self._config = config
        self._admission = admission
        self._token_of = token_of
        self._tally = Tally()
        self._lock = threading.Lock()
        self._conversations: set[Conversation] = set()
        self._door = Door(config.max_handshakes, config.max_handshakes_per_address)
        self._listener: socket.socket | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def listen(self) -> str:
        """Returns the address it listens on. Raises OSError when the port is taken, ssl.SSLError for a bad key."""
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.load_certificate()
        host, port = split_address(self._config.listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        threading.Thread(target=self._accept, args=(self._listener,), name="accept", daemon=True).start()
        return f"{host}:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """End all sessions."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for conversation in self._all():
            conversation.cut()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for conversation in self._all():
            conversation.thread.join(max(0.0, deadline - time.monotonic()))

    def load_certificate(self) -> None:
        """Show the certificate that is on disk, from the next handshake on. Raises OSError (also ssl.SSLError)."""
        self._context.load_cert_chain(self._config.certificate, self._config.key)

    def figures(self) -> GatewayFigures:
        """What has happened since it was made."""
        strangers = sum(each.ticket is None for each in self._all())
        return self._tally.figures(os.getpid(), strangers)

    def end_stale_sessions(self, routes: Routes) -> None:
        """End sessions that may not go on, and strangers that take too long to greet."""
        longest = 2 * self._config.hello_timeout + self._config.worker_timeout
        for conversation in self._all():
            ticket = conversation.ticket
            if ticket is None:
                if time.monotonic() - conversation.since > longest:
                    conversation.cut()
                continue
            age = time.monotonic() - conversation.opened
            reason = ending(ticket, age, routes, self._config.max_session_seconds)
            if reason is not None:
                self._tally.end(reason)
                _log.info("session_ended", terminal=ticket.terminal_id, principal=ticket.principal, reason=reason)
                conversation.cut()

    def _all(self) -> list[Conversation]:
        with self._lock:
            return list(self._conversations)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except OSError as error:
                if listener.fileno() < 0:
                    return  # closed
                _log.warning("accept_failed", error=str(error))
                time.sleep(0.2)  # out of file descriptors, most likely: let some close
                continue
            self._begin(sock, peer[0])

    def _begin(self, sock: socket.socket, address: str) -> None:
        if not self._door.enter(address):
            self._tally.turn_away()
            sock.close()
            return
        conversation = Conversation(sock, time.monotonic(), address)
        conversation.thread = threading.Thread(target=self._serve, args=(conversation,), name="session", daemon=True)
        with self._lock:
            self._conversations.add(conversation)
        try:
            conversation.thread.start()
        except RuntimeError:
            # The system gives no more threads; this caller is turned away, the next may have more luck.
            self._tally.turn_away()
            _log.warning("session_refused", code="busy")
            with self._lock:
                self._conversations.discard(conversation)
            self._door.leave(address)
            sock.close()

    def _serve(self, conversation: Conversation) -> None:
        try:
            self._converse(conversation)
        except RefusedError as refusal:
            self._tally.refuse(refusal.code)
            _log.info("session_refused", code=refusal.code)
            _say_no(conversation.sock, refusal)
        except OSError as error:
            _log.debug("connection_lost", error=type(error).__name__)
        finally:
            with self._lock:
                self._conversations.discard(conversation)
            if conversation.ticket is None:
                self._door.leave(conversation.address)
            conversation.sock.close()
            if conversation.worker is not None:
                conversation.worker.close()

    def _converse(self, conversation: Conversation) -> None:
        sock = conversation.sock
        _prepare(sock)
        sock.settimeout(self._config.hello_timeout)
        client = self._context.wrap_socket(sock, server_side=True)
        conversation.sock = client
        try:
            line = auth.read_line(client, self._config.hello_timeout)
        except auth.HelloError as error:
            raise RefusedError(error.code, error.message) from error
        greeting = hello.parse(line)
        ticket, route = self._admission.admit(greeting.ticket, screen=greeting.screen)
        try:
            self._open_session(conversation, client, ticket, route)
        finally:
            self._admission.leave(ticket)

    def _open_session(self, conversation: Conversation, client: ssl.SSLSocket, ticket: Ticket, route: Route) -> None:
        view = ticket.scope is Scope.VIEW
        worker = self._reach_screen(route) if view else self._reach_worker(ticket, route)
        conversation.worker = worker
        session_id = f"ses_{secrets.token_hex(8)}"
        conversation.opened = time.monotonic()
        conversation.ticket = ticket
        self._door.leave(conversation.address)
        log = _log.bind(session=session_id, terminal=ticket.terminal_id, scope=ticket.scope.value)
        traffic = self._tally.open()
        log.info("session_opened", principal=ticket.principal, ticket=ticket.ticket_id)
        try:
            client.sendall(hello.accepted(ticket, session_id))
            carry_both_ways(client, worker, traffic, self._config.view_idle_seconds if view else None)
        finally:
            self._tally.close(traffic)
            log.info("session_closed")

    def _reach_screen(self, route: Route) -> socket.socket:
        """Raises RefusedError."""
        if route.screen is None or not route.screen.exists():
            raise RefusedError("no_screen", "the terminal shows no screen on this node")
        try:
            return Address(route.screen).connect(self._config.worker_timeout)
        except OSError as error:
            raise RefusedError("screen_down", "the screen does not answer at the moment; try again") from error

    def _reach_worker(self, ticket: Ticket, route: Route) -> socket.socket:
        """A connection on which the worker has accepted our hello. Raises RefusedError."""
        down = RefusedError("worker_down", "the terminal's bridge does not answer at the moment; try again")
        try:
            worker = Address(route.worker).connect(self._config.worker_timeout)
        except OSError as error:
            raise down from error
        try:
            worker.sendall(hello.worker_hello(ticket, self._token_of(route)))
            hello.check_worker_answer(auth.read_line(worker, self._config.worker_timeout))
        except (OSError, ValueError, auth.HelloError) as error:
            worker.close()
            raise down from error
        except BaseException:
            worker.close()
            raise
        return worker


def _prepare(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A client whose machine vanished must not keep its place: the kernel asks after 30 s of silence.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if number := getattr(socket, option, None):
            connection.setsockopt(socket.IPPROTO_TCP, number, value)


def _say_no(sock: socket.socket, refusal: RefusedError) -> None:
    with suppress(OSError):
        sock.settimeout(_CLOSE_SECONDS)
        sock.sendall(hello.refused(refusal))
        # What the peer still sends is read and dropped: closing over it would take back what was just said.
        socket.socket.shutdown(sock, socket.SHUT_WR)
        left = _DRAIN
        while left > 0 and (data := socket.socket.recv(sock, 4096)):
            left -= len(data)
