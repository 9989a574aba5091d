"""The wire of the bridge: RPyC's frames, and leaner ones between them on the same connection.

Stock RPyC sends large messages in quadratic time, leaves Nagle's algorithm on, compresses everything over 3,000 bytes,
accepts frames of any length, and lets a peer reach objects through some twenty kinds of requests. Here a frame has a
cap that is checked before it is read, compressed frames are refused, and a served connection answers nothing but
`root.call` with plain values.

Every frame starts as RPyC's do, with its length and one byte that RPyC uses for "compressed" (0 or 1). Higher numbers
are ours, so one connection carries both, and a stock RPyC client never sees one, for it never sends one:

    RPYC 0     RPyC's own message, ended by a newline
    CALL 2     JSON [function, args, kwargs, options]: what RPyC's `root.call` takes
    VALUE 3    brine (status, payload, error code, error text): what RPyC's `root.call` gives
    ONE 4      a packed struct (`packing.py`); last_error() is (1, 'Success')
    MANY 5     the same, a tuple of structs of one kind
    ROWS 6     one byte for the dtype, then the rows of an array, which go straight into the client's array
    TICKS 7    nobody's answer: new ticks of a symbol (`tick_stream.py`)
    ORDER 8    a CALL of order_send whose request is packed (`order_packing.py`)

Calls of one connection are answered in their order. TICKS frames may come at any time between answers.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rpyc.core import brine, consts
from rpyc.core.channel import Channel
from rpyc.core.protocol import Connection
from rpyc.core.service import Service
from rpyc.core.stream import SocketStream

from mt5_bridge.codec import CodecError, decode, encode
from mt5_bridge.packing import LAYOUTS, PackingError, layout_of, unpack, unpack_one
from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE
from mt5_bridge.tls import lean_read_and_write

RPYC, CALL, VALUE, ONE, MANY, ROWS, TICKS, ORDER = 0, 2, 3, 4, 5, 6, 7, 8
FRAME: Final = struct.Struct("!LB")
_LEAST: Final = FRAME.size + 1
FLUSHER: Final = b"\n"
SUCCESS: Final = (1, "Success")
REQUEST_LIMIT: Final = 1 << 18
"""Bytes of a frame that a worker reads: no call of the API comes near it."""
ANSWER_LIMIT: Final = 512 << 20
"""Bytes of a frame that a client reads: 8 million bars or ticks in one answer."""
_JOIN_LIMIT: Final = 1 << 16
_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode
_from_json: Final = json.JSONDecoder().decode
_READ_SIZE: Final = 1 << 14
_DTYPES: Final[tuple[np.dtype[Any], ...]] = (np.dtype(RATES_DTYPE), np.dtype(TICKS_DTYPE))

Buffer = bytes | memoryview
Body = bytes | npt.NDArray[Any]
Frame = tuple[int, Any]
"""Kind and Body: an array for ROWS, else bytes."""

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


class AnsweringChannel:
    """The worker's end of RPyC on a session: it only sends, for the session has read the frames itself."""

    closed = False

    def __init__(self, send: Callable[[list[Buffer]], None], close: Callable[[], None]) -> None:
        self._send = send
        self.close = close

    def send(self, data: bytes) -> None:
        """Send one frame of RPyC."""
        self._send([FRAME.pack(len(data), RPYC) + data + FLUSHER])


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

    def handle(self, data: bytes) -> None:
        """Serve one message of the peer. Raises anything that its bytes can cause; then the connection must end."""
        if data[0] != consts.MSG_REQUEST:
            raise FrameError("a client that answers is no client")  # the worker asks nothing
        self._recvlock.acquire()  # _dispatch releases it
        self._dispatch(data)


class CallingConnection(Connection):  # type: ignore[misc]  # rpyc has no types
    """The client's end: the worker may ping and close it, nothing else."""

    @classmethod
    def _request_handlers(cls) -> dict[int, Callable[..., Any]]:
        return {consts.HANDLE_PING: cls._handle_ping, consts.HANDLE_CLOSE: cls._handle_close}

    def close(self) -> None:
        """Close at once, without asking the worker."""
        if not self._closed:
            self._cleanup()


def connect(sock: socket.socket) -> CallingConnection:
    """Start RPyC as a client on a connection that has been greeted. Deadlines are the caller's."""
    config = {**RESTRICTED, "sync_request_timeout": None}
    return CallingConnection(Service(), CappedChannel(FastStream(sock), ANSWER_LIMIT), config)


def frame(kind: int, body: bytes) -> bytes:
    """A frame of ours."""
    return FRAME.pack(len(body), kind) + body


def pack_call(function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
    """A CALL frame. Raises CodecError for values that the API does not use."""
    try:
        return frame(CALL, _to_json((function, args, kwargs, options)).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise CodecError(str(error)) from error


def unpack_call(body: bytes) -> tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Function, args, kwargs and options of a CALL frame. Raises CodecError."""
    try:
        match _from_json(str(body, "utf-8")):
            case [str(function), list(args), dict(kwargs), dict(options)]:
                return function, tuple(args), kwargs, options
    except (ValueError, RecursionError) as error:
        raise CodecError("not a call") from error
    raise CodecError("not a call")


def pack_value(value: Any, error: tuple[int, str]) -> list[Buffer]:
    """The frame that answers a call with a value. Raises CodecError for values that the API does not use."""
    if error == SUCCESS:
        layout = LAYOUTS.get(type(value)) or layout_of(value)
        if layout is not None and (packed := layout.pack_one(value)) is not None:
            return [FRAME.pack(len(packed), ONE) + packed]
        if type(value) is tuple and value and (packed := _pack_many(value)) is not None:
            return [frame(MANY, packed)]
        if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype in _DTYPES:
            rows = np.ascontiguousarray(value).view(np.uint8).data
            head = FRAME.pack(rows.nbytes + 1, ROWS) + bytes((_DTYPES.index(value.dtype),))
            return [head, rows] if rows.nbytes > _JOIN_LIMIT else [head + rows]
    return [pack_answer(("ok", encode(value), *error))]


def pack_answer(answer: tuple[str, Any, int, str]) -> bytes:
    """The frame that answers a call in the general form."""
    return frame(VALUE, brine.dump(answer))


def _pack_many(values: tuple[Any, ...]) -> bytes | None:
    layout, kind = layout_of(values[0]), type(values[0])
    if layout is None or any(type(value) is not kind for value in values):
        return None
    return layout.pack(values)


def unpack_answer(kind: int, body: Body) -> tuple[str, Any, int, str]:
    """Status, value (decoded when the status is "ok"), error code and text. Raises CodecError."""
    try:
        if kind == ROWS:
            return "ok", body, 1, "Success"
        assert type(body) is bytes
        if kind == ONE:
            return "ok", unpack_one(body), *SUCCESS
        if kind == MANY:
            return "ok", unpack(body), *SUCCESS
        if kind == VALUE:
            match brine.load(body):
                case ("ok", payload, int(code), str(text)):
                    return "ok", decode(payload), code, text
                case (str(status), payload, int(code), str(text)):
                    return status, payload, code, text
    except PackingError as error:
        raise CodecError(str(error)) from error
    except CodecError:
        raise
    except Exception as error:  # whatever brine makes of bytes that are none
        raise CodecError("not an answer") from error
    raise CodecError("not an answer")


def check_header(data: Buffer, start: int) -> tuple[int, int]:
    """Length and kind of a frame of the worker that starts at `start`. Raises FrameError."""
    length, kind = FRAME.unpack_from(data, start)
    if not 0 < length <= ANSWER_LIMIT or not VALUE <= kind <= TICKS:
        raise FrameError(f"refused a frame of {length} bytes")
    return length, kind


def bytes_of(rows: npt.NDArray[Any]) -> memoryview:
    """The memory of an array of the API."""
    return rows.view(np.uint8).data if len(rows) else memoryview(bytearray())


def rows_for(key: int, size: int) -> npt.NDArray[Any]:
    """An array that `size` bytes of ROWS fill. Raises FrameError."""
    if key >= len(_DTYPES) or size % _DTYPES[key].itemsize:
        raise FrameError("not an array of the API")
    return np.empty(size // _DTYPES[key].itemsize, _DTYPES[key])


class FrameReader:
    """Reads the worker's frames from a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._take = lean_read_and_write(sock)[0] if isinstance(sock, ssl.SSLSocket) else sock.recv
        self._data = b""

    @property
    def pending(self) -> bool:
        """Whether bytes have been read ahead."""
        return bool(self._data)

    def read(self) -> Frame:
        """Kind and body of the next frame. Raises FrameError, EOFError, OSError."""
        data = self._data or self._take(_READ_SIZE)
        while len(data) < _LEAST:
            data += self._receive()
        length, kind = FRAME.unpack_from(data)
        end = length + _LEAST - 1
        if len(data) == end and VALUE <= kind < ROWS:
            self._data = b""
            return kind, data[_LEAST - 1 :]
        check_header(data, 0)
        if kind == ROWS:
            return kind, self._rows(data, length)
        if len(data) < end:
            body = bytearray(length)
            filled = len(data) - FRAME.size
            body[:filled] = data[FRAME.size :]
            self._fill(memoryview(body), filled)
            self._data = b""
            return kind, bytes(body)
        self._data = data[end:]
        return kind, data[FRAME.size : end]

    def _rows(self, data: bytes, length: int) -> npt.NDArray[Any]:
        start, size = FRAME.size + 1, length - 1
        rows = rows_for(data[FRAME.size], size)
        if size:
            here = data[start : start + size]
            view = bytes_of(rows)
            view[: len(here)] = here
            self._fill(view, len(here))
        self._data = data[start + size :]
        rows.setflags(write=False)  # as the package's arrays are (A13)
        return rows

    def _fill(self, view: memoryview, filled: int) -> None:
        size = len(view)
        while filled < size:
            received = self._socket.recv_into(view[filled:])
            if not received:
                raise EOFError("connection closed by peer")
            filled += received

    def _receive(self) -> bytes:
        data = self._take(_READ_SIZE)
        if not data:
            raise EOFError("connection closed by peer")
        return data
