"""The wire between backend, terminal and broker: length-prefixed brine frames over TCP or Unix sockets.

A frame is four bytes of length (big endian) and that many bytes of brine (plain values only). A request is
`(number, verb, arguments)`, its answer `(number, True, value)` or `(number, False, (code, text))`; a notice, which
nobody asked for, is `(0, True, text or control)`. Values of the API travel as the bridge's codec encodes them, those in
answers to `call` wrapped once more.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from rpyc.core import brine

from mt5_bridge import codec
from mt5_bridge.addresses import parse_address

ALGO_TRADING = "algo_trading"
"""First item of a notice (ALGO_TRADING, on) that presses the terminal's button; other notices are text."""
MAX_FRAME = 64 * 1024 * 1024
_LENGTH = struct.Struct("!L")
Message = tuple[Any, ...]


class LinkError(ConnectionError):
    """The link is broken or the other side does not speak this protocol. What was under way may have been done."""


class SendError(LinkError):
    """The link broke while sending: the other side has not got the whole frame, so it does nothing with it."""


class RemoteError(Exception):
    """The other side answered with an error; `code` and `text` as for `last_error()`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def pack(message: Message) -> bytes:
    """A frame. Raises LinkError if it would be too large."""
    body = brine.dump(message)
    if len(body) > MAX_FRAME:
        raise LinkError("the message is too large")
    return bytes(_LENGTH.pack(len(body)) + body)


def frame_length(header: bytes) -> int:
    """Length of the body that follows a header. Raises LinkError above the cap, before anything is read."""
    (length,) = _LENGTH.unpack(header)
    if not 0 < length <= MAX_FRAME:
        raise LinkError("not a frame of this protocol")
    return int(length)


HEADER_SIZE = _LENGTH.size


def unpack(body: bytes) -> Message:
    """The message of a frame's body. Raises LinkError for anything that is not a tuple of three."""
    try:
        message = brine.load(body)
    except Exception as error:  # a stranger's bytes make brine raise anything
        raise LinkError("not a frame of this protocol") from error
    if type(message) is not tuple or len(message) != 3 or type(message[0]) is not int:
        raise LinkError("not a message of this protocol")
    return message


def wrapped(value: Any) -> Any:
    """A value of the API for an answer: bytes into which a terminal that passes them on need not look."""
    encoded = codec.encode(value)
    return encoded if isinstance(value, np.ndarray) else brine.dump(encoded)  # an array is bytes already


def unwrapped(data: Any) -> Any:
    """The value in an answer. Raises LinkError for bytes that hold none."""
    if type(data) is not bytes:
        return codec.decode(data)
    try:
        return codec.decode(brine.load(data))
    except Exception as error:  # a stranger's bytes make brine raise anything
        raise LinkError("not a value of this protocol") from error


def connect(address: str, timeout: float) -> socket.socket:
    """Connect to `host:port` or `unix:/path`. Raises OSError, ValueError for a malformed address."""
    if address.startswith("unix:"):
        connection = parse_address(address).connect(timeout)
    else:
        connection = socket.create_connection(host_port(address), timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection


def host_port(address: str) -> tuple[str, int]:
    """Split `host:port`. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not HOST:PORT")
    return host, int(port)


class Frames:
    """Blocking frames over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = connection.makefile("rb")
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one frame, whole. Raises LinkError."""
        frame = pack(message)
        try:
            with self._sending:
                self._socket.sendall(frame)
        except OSError as error:
            raise SendError("the link broke while sending") from error

    def receive(self) -> Message:
        """Wait for a frame. Raises LinkError, also when the other side closes."""
        return unpack(self._exactly(frame_length(self._exactly(HEADER_SIZE))))

    def _exactly(self, size: int) -> bytes:
        try:
            data = self._reader.read(size)
        except (OSError, ValueError) as error:
            raise LinkError("the link broke while receiving") from error
        if len(data) < size:
            raise LinkError("the other side closed the link")
        return data

    def set_timeout(self, seconds: float | None) -> None:
        """Limit for each later send and receive."""
        self._socket.settimeout(seconds)

    def close(self) -> None:
        """Close the link and wake whoever waits on it."""
        with contextlib.suppress(OSError):  # the other side may have been faster
            self._socket.shutdown(socket.SHUT_RDWR)
        # The reader is not closed here: another thread may be inside it, and it ends by itself.
        self._socket.close()


class _Waiting:
    """One request that waits for its answer."""

    def __init__(self) -> None:
        # A lock that the reader opens: an Event makes three of them, for each request.
        self.pending = threading.Lock()
        self.pending.acquire()
        self.answer: Message | None = None


class Requester:
    """The asking side of a link, for many threads at once.

    A reader thread hands out answers and notices a broken link at once, even when nobody waits; it then calls
    `on_close` with this object.
    """

    def __init__(self, frames: Frames, on_notice: Callable[[Any], None], on_close: Callable[[Requester], None]) -> None:
        self._frames = frames
        self._on_notice = on_notice
        self._on_close = on_close
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._lock = threading.Lock()
        self._broken = False
        self._thread = threading.Thread(target=self._read, name="link-reader", daemon=True)
        self._thread.start()

    def request(self, verb: str, *arguments: Any, timeout: float) -> Any:
        """Ask and wait for the value. Raises RemoteError, and LinkError when the answer does not come."""
        waiting = _Waiting()
        with self._lock:
            if self._broken:
                raise LinkError("the link is closed")
            number = next(self._numbers)
            self._waiting[number] = waiting
        try:
            self._frames.send((number, verb, arguments))
            if not waiting.pending.acquire(timeout=timeout):
                self.close()  # an answer that comes too late must not meet a later question
                raise LinkError("the other side did not answer in time")
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if waiting.answer is None:
            raise LinkError("the link broke before the answer")
        return opened(waiting.answer)

    @property
    def closed(self) -> bool:
        """Whether the link has ended."""
        with self._lock:
            return self._broken

    def close(self) -> None:
        """Close the link; whoever waits gets LinkError."""
        self._frames.close()

    def _read(self) -> None:
        try:
            while True:
                message = self._frames.receive()
                if message[0] == 0:
                    self._on_notice(message[2])
                    continue
                with self._lock:
                    waiting = self._waiting.pop(message[0], None)
                if waiting is not None:
                    waiting.answer = message
                    waiting.pending.release()
        except LinkError:
            pass  # the end of this link is told below
        finally:
            self._frames.close()
            with self._lock:
                self._broken = True
                for waiting in self._waiting.values():
                    waiting.pending.release()
            self._on_close(self)


def opened(answer: Message) -> Any:
    """The value of an answer. Raises RemoteError, LinkError for a malformed one."""
    _, fine, value = answer
    if fine is True:
        return value
    match value:
        case (int(code), str(text)):
            raise RemoteError(code, text)
    raise LinkError("not an answer of this protocol")
