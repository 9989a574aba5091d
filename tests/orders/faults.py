"""The faulty link: proxies between client, worker, terminal and broker that lose, cut and kill by a seeded plan."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from mt5_bridge.codec import CodecError
from mt5_bridge.simulated.link import HEADER_SIZE, LinkError, connect, frame_length, unpack, unwrapped
from mt5_bridge.structs import OrderSendResult
from mt5_bridge.transport import FRAME, ORDER

CHUNK = 65_536


class Fault(StrEnum):
    """What may happen to an order on its way. The first word says where."""

    TLS_REQUEST_CUT = "client: TLS stream to the gateway cut"
    TLS_ANSWER_CUT = "client: TLS stream from the gateway cut"
    GATEWAY_KILLED = "gateway killed between request and answer"
    CLIENT_REQUEST_CUT = "gateway: request cut mid-frame"
    CLIENT_ANSWER_CUT = "gateway: answer cut mid-frame"
    CLIENT_ANSWER_LOST = "gateway: answer lost"
    KILLED_BEFORE_CLIENT_ANSWER = "worker killed between settling and answering"
    KILLED_JOURNALED = "worker killed between journal and check"
    KILLED_BEFORE_SEND = "worker killed between journal and send"
    KILLED_AFTER_SEND = "worker killed between send and answer"
    KILLED_AFTER_FILL = "worker killed after the fill, before its answer"
    TERMINAL_REQUEST_LOST = "terminal: request lost"
    TERMINAL_REQUEST_CUT = "terminal: request cut mid-frame"
    TERMINAL_ANSWER_LOST = "terminal: answer lost after the fill"
    TERMINAL_ANSWER_CUT = "terminal: answer cut mid-frame"
    TERMINAL_KILLED = "terminal killed with the order"
    BROKER_REQUEST_LOST = "broker: request lost"
    BROKER_ANSWER_LOST = "broker: answer lost after the fill"
    BROKER_SLOW = "broker: slow, with the terminal's link cut meanwhile"


SHARES: dict[Fault, float] = {
    Fault.TLS_REQUEST_CUT: 0.003,
    Fault.TLS_ANSWER_CUT: 0.003,
    Fault.GATEWAY_KILLED: 0.0005,
    Fault.CLIENT_REQUEST_CUT: 0.004,
    Fault.CLIENT_ANSWER_CUT: 0.004,
    Fault.CLIENT_ANSWER_LOST: 0.004,
    Fault.KILLED_BEFORE_CLIENT_ANSWER: 0.0015,
    Fault.KILLED_JOURNALED: 0.001,
    Fault.KILLED_BEFORE_SEND: 0.002,
    Fault.KILLED_AFTER_SEND: 0.002,
    Fault.KILLED_AFTER_FILL: 0.002,
    Fault.TERMINAL_REQUEST_LOST: 0.002,
    Fault.TERMINAL_REQUEST_CUT: 0.002,
    Fault.TERMINAL_ANSWER_LOST: 0.004,
    Fault.TERMINAL_ANSWER_CUT: 0.002,
    Fault.TERMINAL_KILLED: 0.0005,
    Fault.BROKER_REQUEST_LOST: 0.003,
    Fault.BROKER_ANSWER_LOST: 0.004,
    Fault.BROKER_SLOW: 0.0003,
}
"""Share of the orders that meet the fault, in a run of many thousand."""


SURE = 20.0
"""A fault that is expected so often and never happens was not offered its chance."""


class FaultPlan:
    """Draws faults from a seed until it is switched off, and counts what happened."""

    def __init__(self, seed: int, shares: Mapping[Fault, float]) -> None:
        self._random = random.Random(seed)
        self._shares = shares
        self._lock = threading.Lock()
        self.happened: Counter[Fault] = Counter()
        self.on = False

    def draw(self, *faults: Fault) -> Fault | None:
        """At most one of these faults, and its count."""
        if not self.on:
            return None
        with self._lock:
            number = self._random.random()
            for fault in faults:
                number -= self._shares.get(fault, 0.0)
                if number < 0:
                    self.happened[fault] += 1
                    return fault
        return None

    def part(self, size: int) -> int:
        """Where to cut a frame of this size: inside it."""
        with self._lock:
            return self._random.randrange(1, max(2, size))


class CutError(Exception):
    """The connection ends here; `data` still goes through."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.data = data


class LateError(Exception):
    """These bytes come later than what follows them."""

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__()
        self.data = data
        self.seconds = seconds


Pass = Callable[[bytes], bytes]
"""Lets bytes through, or raises CutError or LateError."""
Eyes = Callable[[], tuple[Pass, Pass]]
"""For each connection what looks at its requests and at its answers."""


class Proxy:
    """Passes connections on. `eyes` see what goes through: whole frames when `framed`, else chunks."""

    def __init__(self, listener: socket.socket, target: Callable[[], str], eyes: Eyes, *, framed: bool) -> None:
        self._listener = listener
        self._target = target
        self._eyes = eyes
        self._read = _read_frame if framed else _read_chunk
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        with contextlib.suppress(OSError):  # wakes the accepting thread where the system allows it
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = connect(self._target(), 5.0)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            request, answer = self._eyes()
            for source, sink, look in ((near, far, request), (far, near, answer)):
                threading.Thread(target=self._pump, args=(source, sink, look), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, look: Pass) -> None:
        with contextlib.suppress(OSError, LinkError), source.makefile("rb") as reader:
            try:
                while data := self._read(reader):
                    _forward(sink, look, data)
            except CutError as cut:
                sink.sendall(cut.data)
        for end in (source, sink):
            with contextlib.suppress(OSError):  # the other pump was faster
                end.shutdown(socket.SHUT_RDWR)
        sink.close()


def _forward(sink: socket.socket, look: Pass, data: bytes) -> None:
    try:
        sink.sendall(look(data))
    except LateError as late:
        threading.Timer(late.seconds, _send_late, (sink, late.data)).start()


def _send_late(sink: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the connection has ended meanwhile
        sink.sendall(data)


def _read_chunk(reader: Any) -> bytes:
    return bytes(reader.read1(CHUNK))


def _read_frame(reader: Any) -> bytes:
    header = reader.read(HEADER_SIZE)
    if len(header) < HEADER_SIZE:
        return b""
    body = reader.read(frame_length(header))
    return bytes(header + body)


def message(frame: bytes) -> tuple[Any, ...]:
    """What a frame between worker, terminal and broker says."""
    return unpack(frame[HEADER_SIZE:])


def is_order(said: tuple[Any, ...]) -> bool:
    """Whether this is a trade request, of a worker to its terminal or of a terminal to its broker."""
    return bool(said[1] == "send" or (said[1] == "call" and said[2][0] == "order_send"))


def is_order_answer(said: tuple[Any, ...]) -> bool:
    """Whether this is the answer to a trade request."""
    try:
        return type(unwrapped(said[2])) is OrderSendResult
    except (CodecError, LinkError):
        return False  # an error, or a part of an array


def is_order_frame(data: bytes) -> bool:
    """Whether a client's frame, as it goes from the gateway to the worker, is a trade request."""
    return len(data) >= FRAME.size and FRAME.unpack_from(data)[1] == ORDER
