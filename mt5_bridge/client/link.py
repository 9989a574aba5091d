"""One connection to a bridge worker: socket, TLS, hello, lean frames. Safe to use from several threads."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import struct
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mt5_bridge import auth, transport
from mt5_bridge.addresses import Address, parse_address
from mt5_bridge.client.errors import BridgeError, BridgeLost
from mt5_bridge.codec import CodecError
from mt5_bridge.contract import FUNCTIONS
from mt5_bridge.packing import PackingError, unpack_one
from mt5_bridge.refusals import RETRYABLE
from mt5_bridge.structs import Struct
from mt5_bridge.tls import lean_read_and_write
from mt5_bridge.transport import ONE, ORDER, SUCCESS

CONNECT_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 15.0
_FARM_DEADLINE: Final = 30.0
_WATCH_SECONDS: Final = 1.0
_REMEMBERED_ANSWERS: Final = 256
_REMEMBERED_BYTES: Final = 100
_KIND: Final = transport.FRAME.size - 1
"""Where a frame says what it is."""
_RAISED: Final[Mapping[str, type[Exception]]] = {
    cls.__name__: cls for cls in (TypeError, SystemError, ValueError, OverflowError, AttributeError)
}


@dataclass(frozen=True)
class Endpoint:
    """Where a terminal is, and the permission to talk to it: a ticket for a gateway, or a token for a local worker."""

    address: str
    ticket: str | None = None
    ca: str | None = None
    server_name: str | None = None
    token: str | None = None
    scope: str = "read"
    epoch: int = 0
    principal: str = ""

    def connect(self) -> socket.socket:
        """A greeted socket. Raises BridgeError when refused and BridgeLost when unreachable."""
        address = parse_address(self.address)
        try:
            sock = address.connect(CONNECT_SECONDS)
        except OSError as error:
            raise BridgeLost(f"cannot reach {self.address}: {error.strerror or error}") from error
        try:
            if self.ticket is not None:
                sock = self._encrypt(sock, address)
            auth.greet(sock, self._hello(), CONNECT_SECONDS)
        except auth.HelloError as error:
            sock.close()
            raise BridgeError(error.code, error.message, error.code in RETRYABLE) from error
        except OSError as error:
            sock.close()
            raise BridgeLost(f"no secure connection to {self.address}: {error.strerror or error}") from error
        return sock

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 with a gateway of the farm's authority."""
        context = ssl.create_default_context(cadata=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def hello(self) -> bytes:
        """The line that opens a session."""
        return json.dumps({"v": auth.VERSION, **self._hello()}, separators=(",", ":")).encode() + b"\n"

    def _encrypt(self, sock: socket.socket, address: Address) -> socket.socket:
        return self.context().wrap_socket(sock, server_hostname=self.server_name or address.host)

    def _hello(self) -> dict[str, Any]:
        if self.ticket is not None:
            return {"ticket": self.ticket}
        return {"token": self.token, "scope": self.scope, "epoch": self.epoch, "principal": self.principal}


TIMEOUTS: Final = {name: 2 * function.deadline + _GRACE_SECONDS for name, function in FUNCTIONS.items()}
"""Seconds for a call: the worker may wait for its turn and then run, each within the deadline."""


def check_greeting(line: bytes) -> None:
    """Read the answer to a hello. Raises BridgeError when it is a refusal."""
    try:
        auth.check_answer(line)
    except auth.HelloError as error:
        raise BridgeError(error.code, error.message, error.code in RETRYABLE) from error


def timeout_of(function: str) -> float:
    """Seconds after which an answer will not come any more."""
    return TIMEOUTS.get(function, 2 * _FARM_DEADLINE + _GRACE_SECONDS)


class Link:
    """Calls over one connection, one at a time; open several links to overlap calls.

    Ticks may come in between answers: whoever reads at the moment, a call or a stream, hands over what is not for it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._calling = threading.Lock()
        self._turn = threading.Condition(threading.Lock())
        self._reading = False
        self._answers: list[transport.Frame] = []
        self._known: dict[bytes, tuple[bytes, Struct]] = {}
        """The latest answers to the commonest calls, packed and unpacked: the same bytes are the same struct again."""
        self._on_ticks: Callable[[bytes], None] | None = None
        self._dead = False
        self._socket = endpoint.connect()
        self._send: Callable[[bytes], int] = self._socket.send
        self._encrypted = False
        if isinstance(self._socket, ssl.SSLSocket):
            self._send, self._encrypted = lean_read_and_write(self._socket)[1], True
        self._using = threading.Lock()
        """TLS must not be read and written at once."""
        self._timeout = 0.0
        self._patience: float | None = None
        self._socket.settimeout(None)
        if self._socket.family != getattr(socket, "AF_UNIX", None):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = transport.FrameReader(self._socket)
        if self._encrypted:
            threading.Thread(target=_watch, args=(weakref.ref(self),), name="patience", daemon=True).start()

    @property
    def dead(self) -> bool:
        """Whether the connection is of no more use."""
        return self._dead

    def call(
        self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Any, tuple[int, str]]:
        """Call a function; its value and the terminal's last_error().

        Raises BridgeError, BridgeLost, and the exception that the package raised.
        """
        try:
            frame = transport.pack_call(function, args, kwargs, options)
        except CodecError as error:
            raise BridgeError("malformed_call", str(error)) from error
        return self.ask(frame, timeout_of(function))

    def ask(self, frame: bytes, timeout: float) -> tuple[Any, tuple[int, str]]:
        """Send a call that is packed already; see `call`."""
        kind, body = self._exchange(frame, timeout)
        try:
            if kind == ONE:  # by far the commonest
                if frame[_KIND] == ORDER:  # hardly ever answered with the same bytes twice
                    return unpack_one(body), SUCCESS
                known = self._known.get(frame)
                if known is not None and known[0] == body:
                    return known[1], SUCCESS
                value = unpack_one(body)
                self._remember(frame, body, value)
                return value, SUCCESS
            status, payload, code, text = transport.unpack_answer(kind, body)
            if status == "ok":
                return payload, (code, text)
            raise refusal(status, payload)
        except (CodecError, PackingError) as error:
            self.close()
            raise BridgeLost("the worker's answer cannot be read") from error

    def share(self, on_ticks: Callable[[bytes], None]) -> None:
        """From now on TICKS frames may come; `on_ticks` gets their bodies, on any thread."""
        with self._calling:
            self._on_ticks = on_ticks

    def wait_for_ticks(self, timeout: float) -> None:
        """Read what comes, until there were ticks or `timeout` seconds are over. Raises BridgeLost."""
        deadline = time.monotonic() + timeout
        with self._turn:
            while self._reading:
                left = deadline - time.monotonic()
                if left <= 0 or self._dead:
                    return
                if self._turn.wait(left):
                    return  # the other reader may have got ticks
            self._reading = True
        frame = None
        try:
            if self._readable(max(0.0, deadline - time.monotonic())):
                with self._using:
                    frame = self._read_frame(_FARM_DEADLINE)
        except (OSError, EOFError, ValueError) as error:
            raise self._broken(error) from error
        finally:
            self._hand_over(frame)

    def close(self) -> None:
        """Close the connection. Safe to call twice, and from another thread than the calls."""
        self.cut()
        self._socket.close()

    def cut(self) -> None:
        """Wake whoever waits; the connection is of no more use."""
        self._dead = True
        with contextlib.suppress(OSError):  # closed already
            # Below TLS, for another thread may be inside it.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _remember(self, call: bytes, body: bytes, value: Struct) -> None:
        if len(call) > _REMEMBERED_BYTES:
            return
        if len(self._known) >= _REMEMBERED_ANSWERS and call not in self._known:
            self._known.clear()
        self._known[call] = body, value

    def _exchange(self, frame: bytes, timeout: float) -> transport.Frame:
        with self._calling:
            if self._dead:
                raise BridgeLost("the connection is closed")
            try:
                if timeout != self._timeout:
                    self._limit(timeout)
                if self._encrypted:
                    self._patience = time.monotonic() + timeout
                if self._on_ticks is None:
                    sent = self._send(frame)
                    if sent < len(frame):
                        self._socket.sendall(frame[sent:])
                    return self._reader.read()
                with self._using:
                    self._socket.sendall(frame)
                return self._await_answer(timeout)
            except (OSError, EOFError, ValueError) as error:
                raise self._broken(error) from error
            except BaseException:
                self.close()  # interrupted: the answer, when it comes, must not meet a later question
                raise
            finally:
                self._patience = None

    def _await_answer(self, timeout: float) -> transport.Frame:
        deadline = 0.0
        while True:
            with self._turn:
                while self._reading and not self._answers:
                    deadline = deadline or time.monotonic() + timeout
                    if self._dead or not self._turn.wait(deadline - time.monotonic()):
                        raise TimeoutError("no answer came")
                if self._answers:
                    return self._answers.pop()
                self._reading = True
            frame = None
            try:
                frame = self._read_frame(timeout)
            finally:
                self._hand_over(frame)

    def _read_frame(self, timeout: float) -> transport.Frame:
        if timeout != self._timeout:
            self._limit(timeout)
        return self._reader.read()

    def _hand_over(self, frame: transport.Frame | None) -> None:
        """Give a frame to whom it belongs, and the turn to read to whoever wants it."""
        with self._turn:
            self._reading = False
            if frame is not None and frame[0] != transport.TICKS:
                self._answers.append(frame)
            self._turn.notify_all()
        if frame is not None and frame[0] == transport.TICKS and self._on_ticks is not None:
            self._on_ticks(frame[1])

    def _readable(self, timeout: float) -> bool:
        if self._reader.pending or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return True
        return bool(select.select([self._socket], [], [], timeout)[0])

    def _limit(self, seconds: float) -> None:
        """Bound each wait for the peer. On Linux the kernel keeps the time, which saves a system call per wait."""
        self._timeout = seconds
        if self._encrypted:
            return  # TLS waits on through the kernel's limit; `_watch` keeps the time
        if os.name == "nt":
            self._socket.settimeout(seconds)
            return
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def overdue(self, now: float) -> bool:
        """Whether a call has waited for too long, as `time.monotonic()` says."""
        patience = self._patience
        return patience is not None and now > patience

    def _broken(self, error: Exception) -> BridgeLost:
        self.close()
        with self._turn:
            self._turn.notify_all()
        return BridgeLost(f"the connection to the terminal broke: {type(error).__name__}")


def _watch(reference: weakref.ref[Link]) -> None:
    """Cut a link whose answer does not come."""
    while (link := reference()) is not None and not link.dead:
        if link.overdue(time.monotonic()):
            link.cut()
            return
        del link
        time.sleep(_WATCH_SECONDS)


def refusal(status: str, payload: Any) -> Exception:
    """What to raise for an answer that is no value: BridgeError, or what the package raised. Raises CodecError."""
    match status, payload:
        case "refused", (str(code), str(message)):
            return BridgeError(code, message, code in RETRYABLE)
        case "raise", (str(name), str(message), str(cause), str(cause_message)):
            error = _RAISED.get(name, RuntimeError)(message)
            error.__cause__ = _cause(cause, cause_message)
            return error
    raise CodecError("not an answer")


def _cause(name: str, message: str) -> Exception | None:
    return _RAISED.get(name, RuntimeError)(message) if name else None
