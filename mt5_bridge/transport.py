"""RPyC's stream, channel and connection, made safe and fast for this one use. Stock RPyC peers are still served.

Stock RPyC sends large messages in quadratic time, leaves Nagle's algorithm on, compresses everything over 3,000 bytes,
accepts frames of any length, and lets a peer reach objects through some twenty kinds of requests. Here a frame has a
cap that is checked before it is read, compressed frames are refused, and a served connection answers nothing but
`root.call` with plain values.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from rpyc.core import consts
from rpyc.core.channel import Channel
from rpyc.core.protocol import Connection
from rpyc.core.service import Service
from rpyc.core.stream import SocketStream

REQUEST_LIMIT: Final = 1 << 20
"""Bytes of a frame that a worker reads: no call of the API comes near it."""
ANSWER_LIMIT: Final = 512 << 20
"""Bytes of a frame that a client reads: 8 million bars or ticks in one answer."""
_JOIN_LIMIT: Final = 1 << 16

RESTRICTED: Final[dict[str, Any]] = {
    "allow_safe_attrs": False,
    "allow_exposed_attrs": True,
    "allow_public_attrs": False,
    "allow_all_attrs": False,
    "allow_getattr": True,
    "allow_setattr": False,
    "allow_delattr": False,
    "allow_pickle": False,
    "include_local_traceback": False,
    "include_local_version": False,
    "import_custom_exceptions": False,
    "instantiate_custom_exceptions": False,
    "propagate_KeyboardInterrupt_locally": False,
    "log_exceptions": False,
    "close_catchall": True,
    "bind_threads": False,
}


class FrameError(EOFError):
    """The peer sent a frame that must not be read. The connection is closed."""


class FastStream(SocketStream):  # type: ignore[misc]  # rpyc has no types
    """A socket stream that writes in linear time and does not wait for acknowledgements."""

    __slots__ = ()

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock)

    def poll(self, timeout: Any) -> bool:
        """Whether there is something to read, waiting up to `timeout`."""
        # TLS may have read and decrypted more than was asked for; the system sees nothing of that any more.
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return True
        return bool(super().poll(timeout))

    def read(self, count: int) -> bytes | bytearray:
        """Exactly `count` bytes; EOFError when the peer is gone."""
        buffer = bytearray(count)
        view = memoryview(buffer)
        filled = 0
        while filled < count:
            try:
                received = self.sock.recv_into(view[filled:])
            except OSError as error:
                self.close()
                raise EOFError(str(error)) from error
            if not received:
                self.close()
                raise EOFError("connection closed by peer")
            filled += received
        return buffer

    def write(self, data: bytes) -> None:
        """All of `data`; EOFError when the peer is gone."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.close()
            raise EOFError(str(error)) from error


class CappedChannel(Channel):  # type: ignore[misc]  # rpyc has no types
    """Frames of at most `limit` bytes, never compressed."""

    __slots__ = ("limit",)

    def __init__(self, stream: FastStream, limit: int) -> None:
        super().__init__(stream, compress=False)
        self.limit = limit

    def recv(self) -> bytes | bytearray:
        """The next frame. FrameError when it is compressed or too large."""
        length, compressed = self.FRAME_HEADER.unpack(self.stream.read(self.FRAME_HEADER.size))
        if compressed or not 0 < length <= self.limit:
            self.close()
            raise FrameError(f"refused a frame of {length} bytes")
        return memoryview(self.stream.read(length + len(self.FLUSHER)))[:length].tobytes()

    def send(self, data: bytes) -> None:
        """Send one frame."""
        header = self.FRAME_HEADER.pack(len(data), 0)
        if len(data) <= _JOIN_LIMIT:
            self.stream.write(header + data + self.FLUSHER)
            return
        self.stream.write(header)
        self.stream.write(data)
        self.stream.write(self.FLUSHER)


class ServedConnection(Connection):  # type: ignore[misc]  # rpyc has no types
    """The worker's end: a peer can ping, close, and call the root's `call`. Nothing else exists."""

    @classmethod
    def _request_handlers(cls) -> dict[int, Callable[..., Any]]:
        return {
            consts.HANDLE_PING: cls._handle_ping,
            consts.HANDLE_CLOSE: cls._handle_close,
            consts.HANDLE_GETROOT: cls._handle_getroot,
            consts.HANDLE_GETATTR: cls._handle_getattr,
            consts.HANDLE_CALL: cls._handle_call,
            consts.HANDLE_CALLATTR: cls._handle_callattr,
            consts.HANDLE_DEL: cls._handle_del,
            consts.HANDLE_INSPECT: cls._handle_inspect,
        }

    def close(self) -> None:
        """Close at once: stock RPyC asks the peer first, and a hostile peer lets it wait."""
        if not self._closed:
            self._cleanup()

    def _handle_getattr(self, obj: Any, name: Any) -> Any:
        if obj is not self._local_root or name != "call":
            raise AttributeError("only root.call exists")
        return self._local_root.exposed_call

    def _handle_call(self, obj: Any, args: Any, kwargs: Any = ()) -> Any:
        if self._local_root is None or obj != self._local_root.exposed_call or kwargs:
            raise AttributeError("only root.call exists")
        return obj(*args)

    def _unbox(self, package: Any) -> Any:
        label, _ = package
        if label == consts.LABEL_REMOTE_REF:
            # A proxy of the peer's object would send requests back to the peer whenever it is touched.
            raise ValueError("references are not accepted")
        return super()._unbox(package)


class CallingConnection(Connection):  # type: ignore[misc]  # rpyc has no types
    """The client's end: the worker may ping and close it, nothing else."""

    @classmethod
    def _request_handlers(cls) -> dict[int, Callable[..., Any]]:
        return {consts.HANDLE_PING: cls._handle_ping, consts.HANDLE_CLOSE: cls._handle_close}

    def close(self) -> None:
        """Close at once, without asking the worker."""
        if not self._closed:
            self._cleanup()


def serve(sock: socket.socket, service: Service) -> None:
    """Serve one authenticated connection until it ends. Raises nothing that the peer's bytes can cause."""
    connection = ServedConnection(service, CappedChannel(FastStream(sock), REQUEST_LIMIT), RESTRICTED)
    try:
        connection.serve_all()
    except Exception:  # noqa: BLE001 - whatever the peer's bytes broke ends this connection and nothing else
        sock.close()


def connect(sock: socket.socket) -> CallingConnection:
    """Start RPyC as a client on a connection that has been greeted. Deadlines are the caller's."""
    config = {**RESTRICTED, "sync_request_timeout": None}
    return CallingConnection(Service(), CappedChannel(FastStream(sock), ANSWER_LIMIT), config)
