"""All sessions of a worker on the one thread that may call its terminal: no thread is woken between frame and call.

While a call of the terminal takes long, the watchdog stands in: it takes in frames, answers those that need no
terminal, and leaves the others, one for each session, until the terminal is free again.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

from mt5_bridge.readiness import READ, WRITE, Readiness
from mt5_bridge.transport import CALL, FLUSHER, FRAME, ORDER, REQUEST_LIMIT, RPYC, Buffer

log = logging.getLogger(__name__)

_READ: Final = frozenset({RPYC, CALL, ORDER})
_READ_SIZE: Final = 1 << 14
_LARGE: Final = 1 << 18
"""Bytes from which a thread sends an answer, for the most part without the interpreter's lock."""
_SLICE: Final = 1 << 20
_SMALL_SLICE: Final = 1 << 15
_PAUSE_SECONDS: Final = 1e-4
_POLITE_SECONDS: Final = 0.01
"""After an answer to another session: longer than a call takes, or between two calls there would be no politeness."""
_MOST_PARTS: Final = 32
_MOST_BYTES: Final = 1 << 20
_STALLED_SECONDS: Final = 60.0
"""A peer that takes nothing of its answer for so long is gone, or wants the memory that it holds."""
_SWEEP_SECONDS: Final = 5.0
_STAND_IN_SECONDS: Final = 0.1
_AFTER_FAILURE_SECONDS: Final = 0.1
_FLUSH_SECONDS: Final = 0.5
_MOST_EVENTS: Final = 64


class Handler(Protocol):
    """What answers the frames of one session."""

    def opened(self, session: Session) -> None:
        """The session begins."""
        ...

    def call(self, body: bytes) -> Iterable[Buffer]:
        """The answer to a CALL frame. On the terminal's thread."""
        ...

    def order(self, body: bytes) -> Iterable[Buffer]:
        """The answer to an ORDER frame. On the terminal's thread."""
        ...

    def call_without_terminal(self, body: bytes) -> Iterable[Buffer] | None:
        """The answer to a CALL frame, None when it needs the terminal. On the thread that stands in."""
        ...

    def expired(self, kind: int, body: bytes, waited: float) -> Iterable[Buffer] | None:
        """The refusal of a CALL or ORDER frame that has waited for its turn for too long, else None."""
        ...

    def rpyc(self, session: Session, body: bytes) -> None:
        """Serve a message of RPyC, which answers through `session.send`. On the terminal's thread."""
        ...

    def closed(self) -> None:
        """The session has ended."""
        ...


class Session:
    """One greeted connection: what has come in of the next frame and what has not gone out of the last answer."""

    def __init__(self, sock: socket.socket, handler: Handler, loop: SessionLoop) -> None:
        sock.setblocking(False)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.descriptor = sock.fileno()
        self.handler = handler
        self.inbox = b""
        self.outbox: deque[memoryview] = deque()
        self.parked: tuple[int, bytes] | None = None
        self.since = 0.0
        """time.monotonic() when the frame was parked, or when the peer last took a part of its answer."""
        self.busy = False
        """Whether a call of this session is under way."""
        self.aside = False
        """Whether a thread of its own sends a large answer; the loop then leaves the socket alone."""
        self.broken = False
        self.open = True
        self.interest = READ
        self._loop = loop

    def send(self, parts: Iterable[Buffer]) -> None:
        """Send as much as the peer takes now, and the rest when it takes more. Raises OSError."""
        for part in parts:
            if self.outbox or self.aside:
                self.outbox.append(memoryview(part))
                continue
            if len(part) > _LARGE:
                self.outbox.append(memoryview(part))
                self._loop.send_aside(self)
                continue
            try:
                sent = self.sock.send(part)
            except BlockingIOError:
                sent = 0
            if sent < len(part):
                self.outbox.append(memoryview(part)[sent:])
                self.since = time.monotonic()
                self._loop.watch(self, self.wanted())

    def has_room(self) -> bool:
        """Whether so little is unsent that more may be added."""
        return len(self.outbox) < _MOST_PARTS and sum(map(len, self.outbox)) < _MOST_BYTES

    def wanted(self) -> int:
        """What to wait for: the peer may ask on while it takes its answers, but not without an end."""
        if not self.outbox:
            return READ
        return WRITE | (READ if self.has_room() else 0)

    def flush(self) -> bool:
        """Send more of what is left; True when nothing is. Raises OSError."""
        first = self.outbox[0]
        try:
            sent = self.sock.send(first)
        except BlockingIOError:
            return False
        self.since = time.monotonic()
        if sent < len(first):
            self.outbox[0] = first[sent:]
        else:
            self.outbox.popleft()
        return not self.outbox

    def take(self) -> tuple[int, bytes] | None:
        """The next whole frame of what has come in. Raises ValueError for one that must not be read."""
        data = self.inbox
        if len(data) < FRAME.size:
            return None
        length, kind = FRAME.unpack_from(data)
        if kind not in _READ or not 0 < length <= REQUEST_LIMIT:
            raise ValueError(f"refused a frame of {length} bytes")
        end = FRAME.size + length
        following = end + len(FLUSHER) if kind == RPYC else end
        if len(data) < following:
            return None
        self.inbox = data[following:]
        return kind, data[FRAME.size : end]

    def close(self) -> None:
        """End the session. Only on the thread that serves at the moment."""
        self._loop.remove(self)


class SessionLoop:
    """Waits for frames of all sessions. `serve` is called by the terminal's thread again and again."""

    def __init__(self) -> None:
        self._waking, self._wake = socket.socketpair()
        self._waking.setblocking(False)
        self._wake.setblocking(False)
        self._readiness = Readiness()
        self._poll = self._readiness.poll
        self._readiness.register(self._waking.fileno(), READ)
        self._sessions: dict[int, Session] = {}
        self._ready: set[Session] = set()
        self._unsent: set[Session] = set()
        self._returned: deque[Session] = deque()
        self._away = True
        """Whether the terminal's thread is away from serving, for it calls the terminal."""
        self._stood_in = False
        self._standing_in = threading.Lock()
        """Held while `_stood_in` is set, so that the terminal's thread can wait for its end."""
        self._swept = time.monotonic()
        self._left = False
        self._answered = 0
        self._polite_until = 0.0
        self.timer: Callable[[float], float | None] | None = None
        """Called before each wait with time.monotonic(); says in how many seconds it wants to be called again."""

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, sock: socket.socket, handler: Handler) -> Session:
        """Serve a greeted connection from now on. From any thread."""
        session = Session(sock, handler, self)
        handler.opened(session)
        self._sessions[session.descriptor] = session
        self._readiness.register(session.descriptor, READ)
        self.wake()
        return session

    def wake(self) -> None:
        """End the present wait. From any thread."""
        with suppress(OSError):  # full: it is awake already
            self._wake.send(b"\0")

    def enter(self) -> None:
        """The terminal's thread begins to serve, or takes over again from the one that stands in.

        Each side first says what it does and then looks what the other does, so at least one of them sees the other:
        no lock is needed twice in each call for what happens once in a million calls.
        """
        self._away = False
        if self._stood_in:
            self.wake()
            with self._standing_in:
                pass

    def leave(self) -> None:
        """The terminal's thread goes off to call the terminal."""
        self._away = True

    def serve(self) -> None:
        """Wait for something to do and do it, one frame of each session at most. Between `enter` and `leave`."""
        try:
            if self._left:
                self._resume()
            if self._ready or self._unsent or self.timer:
                sessions = self._wait(self._timeout())
            else:
                events = self._poll(None, _MOST_EVENTS)
                session = self._sessions.get(events[0][0]) if len(events) == 1 else None
                sessions = self._found(events) if session is None else [session]
            for session in sessions:
                self._advance(session, self._answer)
        except Exception:
            log.exception("serving the sessions failed; it goes on")
            time.sleep(_AFTER_FAILURE_SECONDS)

    def stand_in(self, done: Callable[[], bool]) -> None:
        """Serve what needs no terminal until `done`. From the watchdog's thread, while the terminal's is away."""
        with self._standing_in:
            self._stood_in = True
            try:
                while self._away and not done():
                    for session in self._wait(_STAND_IN_SECONDS):
                        self._advance(session, self._answer_or_park)
                    self._expire()
            finally:
                self._stood_in = False

    def close(self) -> None:
        """End all sessions; answers that are on their way get a moment to go out."""
        for session in list(self._sessions.values()):
            with suppress(OSError, ValueError, IndexError):
                session.sock.settimeout(_FLUSH_SECONDS)
                while session.outbox and not session.aside:
                    session.flush()
            self.remove(session)
        self._readiness.close()
        self._waking.close()
        self._wake.close()

    def watch(self, session: Session, interest: int) -> None:
        """Wait for the peer to send, to take more of its answer, or (0) for nothing."""
        if session.interest == interest:
            return
        (self._unsent.add if interest & WRITE else self._unsent.discard)(session)
        if not interest:
            self._readiness.unregister(session.descriptor)
        elif not session.interest:
            self._readiness.register(session.descriptor, interest)
        else:
            self._readiness.modify(session.descriptor, interest)
        session.interest = interest

    def send_aside(self, session: Session) -> None:
        """Let a thread send what the session's peer has to get; it gives up when nothing is taken for a minute."""
        session.aside = True
        self.watch(session, 0)
        threading.Thread(target=self._send_all, args=(session,), name="sender", daemon=True).start()

    def _send_all(self, session: Session) -> None:
        try:
            session.sock.settimeout(_STALLED_SECONDS)
            while session.outbox:
                self._send_politely(session.sock, session.outbox[0])
                session.outbox.popleft()
        except (OSError, IndexError):
            session.broken = True
        finally:
            self._returned.append(session)
            self.wake()

    def _send_politely(self, sock: socket.socket, rest: memoryview) -> None:
        """All of `rest`; while other sessions are answered in small slices, and with a pause after each.

        Sender and receiver of a large answer can keep two processors busy, and a kernel that does not preempt itself
        lets nobody in before a slice is copied: a short call would wait for milliseconds.
        """
        answered = self._answered
        while rest:
            polite = time.monotonic() < self._polite_until
            rest = rest[sock.send(rest[: _SMALL_SLICE if polite else _SLICE]) :]
            if answered != self._answered:
                answered, self._polite_until = self._answered, time.monotonic() + _POLITE_SECONDS
            if polite:
                time.sleep(_PAUSE_SECONDS)

    def _take_back(self) -> None:
        """Sessions whose large answer has gone out are served by the loop again."""
        while self._returned:
            session = self._returned.popleft()
            session.aside = False
            if not session.open:
                session.sock.close()
                continue
            if session.broken:
                self.remove(session)
                continue
            session.sock.setblocking(False)
            session.since = time.monotonic()
            self.watch(session, session.wanted())
            if session.inbox:
                self._ready.add(session)

    def remove(self, session: Session) -> None:
        """Forget a session and close its socket."""
        if not session.open:
            return
        session.open = False
        del self._sessions[session.descriptor]
        with suppress(KeyError, ValueError, OSError):
            self.watch(session, 0)
        self._ready.discard(session)
        self._unsent.discard(session)
        if session.aside:
            with suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)  # wakes its sender; `_take_back` closes it
        else:
            session.outbox.clear()
            session.sock.close()
        session.handler.closed()

    def _timeout(self) -> float | None:
        """How long nothing but the sessions needs attention."""
        now = time.monotonic()
        if now - self._swept > _SWEEP_SECONDS:
            self._sweep(now)
        wait = None if self.timer is None else self.timer(now)
        if self._ready:
            return 0.0
        return min(_SWEEP_SECONDS, _SWEEP_SECONDS if wait is None else wait)

    def _wait(self, timeout: float | None) -> list[Session]:
        return self._found(self._poll(timeout, _MOST_EVENTS))

    def _found(self, events: Iterable[tuple[int, int]]) -> list[Session]:
        sessions = list(self._ready)
        self._ready.clear()
        for descriptor, _ in events:
            if (session := self._sessions.get(descriptor)) is not None:
                if session not in sessions:
                    sessions.append(session)
            elif descriptor == self._waking.fileno():
                with suppress(BlockingIOError):
                    self._waking.recv(_READ_SIZE)
                self._take_back()
        return sessions

    def _advance(self, session: Session, answer: Callable[[Session, int, bytes], None]) -> None:
        """Take the session one step further: send more, or read more and answer one frame."""
        if session.busy or session.aside or not session.open:
            if session.open:
                self.watch(session, 0)
            return
        try:
            if session.outbox:
                session.flush()
                self.watch(session, session.wanted())
                if not session.has_room():
                    return
            frame = session.parked or (session.take() if session.inbox else None)
            if frame is None:
                received = session.sock.recv(_READ_SIZE)
                if not received:
                    self.remove(session)
                    return
                session.inbox = session.inbox + received if session.inbox else received
                frame = session.take()
            if frame is not None:
                answer(session, *frame)
        except BlockingIOError:
            return
        except (OSError, ValueError, EOFError):
            self.remove(session)
        except Exception:
            log.exception("a session ends because of an error in serving it")
            self.remove(session)

    def _answer(self, session: Session, kind: int, body: bytes) -> None:
        session.parked, session.busy = None, True
        self._answered += 1
        try:
            if kind == CALL:
                session.send(session.handler.call(body))
            elif kind == ORDER:
                session.send(session.handler.order(body))
            else:
                session.handler.rpyc(session, body)
        finally:
            session.busy = False
        if session.aside:
            return
        if session.interest == 0:
            self.watch(session, session.wanted())
        if session.inbox and session.has_room():
            self._ready.add(session)

    def _answer_or_park(self, session: Session, kind: int, body: bytes) -> None:
        if session.parked is not None:
            return
        answer = session.handler.call_without_terminal(body) if kind == CALL else None
        if answer is not None:
            session.send(answer)
            return
        session.parked, session.since, self._left = (kind, body), time.monotonic(), True
        self.watch(session, 0)

    def _expire(self) -> None:
        for session in list(self._sessions.values()):
            if session.parked is None:
                continue
            kind, body = session.parked
            waited = time.monotonic() - session.since
            refusal = None if kind == RPYC else session.handler.expired(kind, body, waited)
            if refusal is not None:
                session.parked = None
                self.watch(session, READ)
                with suppress(OSError):
                    session.send(refusal)

    def _resume(self) -> None:
        """The terminal is free again: the frames that were left are due."""
        self._left = False
        for session in list(self._sessions.values()):
            if session.parked is not None:
                self.watch(session, READ)
                self._ready.add(session)

    def _sweep(self, now: float) -> None:
        self._swept = now
        for session in list(self._unsent):
            if session.outbox and now - session.since > _STALLED_SECONDS:
                log.info("a peer takes nothing of its answer; its session ends")
                self.remove(session)
