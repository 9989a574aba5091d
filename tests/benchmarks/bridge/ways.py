"""The client's side of each way. All have the same few methods, and read every field of what they get."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Any, Protocol

import numpy as np

from mt5_bridge import codec, transport
from mt5_bridge.client import MetaTrader5
from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE
from tests.benchmarks.bridge import stub
from tests.benchmarks.bridge.servers import LENGTH, RAW, exactly


class Way(Protocol):
    """How a client calls the stub."""

    def call(self, function: str, *args: Any) -> Any: ...
    def close(self) -> None: ...


def host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


class Raw:
    """As many bytes each way as the bridge's frames have, into a fresh buffer."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_connection(host_port(address))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sizes: dict[str, bytes] = {}
        self._backend: stub.StubBackend | None = None

    def call(self, function: str, *args: Any) -> Any:
        key = f"{function}{args[2:]}"
        if key not in self._sizes:
            asked = len(transport.pack_call(function, args, {}, {}))
            value = self._answer(function, args)
            answered = sum(memoryview(part).nbytes for part in transport.pack_value(value, transport.SUCCESS))
            answered = min(answered, stub.ROWS * 60) - LENGTH.size
            asked = max(asked, RAW.size) - LENGTH.size
            self._sizes[key] = RAW.pack(asked, answered) + bytes(asked - LENGTH.size)
        return self._exchange(self._sizes[key])

    def _exchange(self, request: bytes) -> Any:
        self._socket.sendall(request)
        (size,) = LENGTH.unpack(exactly(self._socket, LENGTH.size))
        if size <= 65536:
            exactly(self._socket, size)
            return None
        view = np.empty(size, np.uint8).data
        filled = 0
        while filled < size:
            filled += self._socket.recv_into(view[filled:])
        return None

    def _answer(self, function: str, args: tuple[Any, ...]) -> Any:
        if function == "symbol_info_tick":
            return stub.struct("Tick")  # without a million bars for each of many clients
        if self._backend is None:
            self._backend = stub.StubBackend()
        return self._backend.call(function, args, {})

    def close(self) -> None:
        self._socket.close()


class RawUnframed(Raw):
    """The same bytes without reading a length first. For small messages only."""

    def _exchange(self, request: bytes) -> Any:
        self._socket.sendall(request)
        left = RAW.unpack_from(request)[1]
        while left > 0:
            left -= len(self._socket.recv(65536))


class Bridge:
    """The farm's own client."""

    def __init__(self, terminal: MetaTrader5) -> None:
        self.terminal = terminal

    def call(self, function: str, *args: Any) -> Any:
        return getattr(self.terminal, function)(*args)

    def close(self) -> None:
        self.terminal.close()


def local(address: str) -> Bridge:
    return Bridge(MetaTrader5(address, token=stub.TOKEN, scope="trade", epoch=1, principal="user:bench"))


class Mt5linux:
    """What mt5linux 1.1 does: the call as source text, the result pickled by reference (`rpyc.classic.obtain`)."""

    def __init__(self, address: str) -> None:
        import rpyc

        host, port = host_port(address)
        self._connection = rpyc.classic.connect(host, port)
        self._obtain = rpyc.classic.obtain
        self._connection._config["sync_request_timeout"] = 300
        self._connection.execute("from tests.benchmarks.bridge import stub; mt5 = stub.module()")

    def call(self, function: str, *args: Any) -> Any:
        return self._obtain(self._connection.eval(f"mt5.{function}(*{args!r})"))

    def close(self) -> None:
        self._connection.close()


class PlainRpyc:
    """One exposed method, values by brine, the bound method kept."""

    def __init__(self, address: str) -> None:
        import rpyc

        host, port = host_port(address)
        self._connection = rpyc.connect(host, port)
        self._call = self._connection.root.call

    def call(self, function: str, *args: Any) -> Any:
        plain = tuple(tuple(arg.items()) if isinstance(arg, dict) else arg for arg in args)
        return codec.decode(self._call(function, plain)[1])

    def close(self) -> None:
        self._connection.close()


def from_json(function: str, data: Any) -> Any:
    """JSON has no structs: the fields by name are as near as it gets; arrays become arrays again."""
    if function.startswith("copy_"):
        dtype = RATES_DTYPE if "rates" in function else TICKS_DTYPE
        return np.array([tuple(row) for row in data], dtype)
    return data


class HttpJson:
    """One kept connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(*host_port(address))
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, function: str, *args: Any) -> Any:
        body = json.dumps({"function": function, "args": args})
        self._connection.request("POST", "/call", body, {"Content-Type": "application/json"})
        return from_json(function, json.loads(self._connection.getresponse().read()))

    def close(self) -> None:
        self._connection.close()


class ZeroMq:
    """REQ/REP with JSON."""

    def __init__(self, address: str) -> None:
        import zmq

        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.connect(f"tcp://{address}")

    def call(self, function: str, *args: Any) -> Any:
        self._socket.send(json.dumps({"function": function, "args": args}).encode())
        return from_json(function, json.loads(self._socket.recv()))

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()


_ATTRIBUTES = {name: attrgetter(*(field for field, _ in STRUCTS[name])) for name in STRUCTS}
_ITEMS = {name: itemgetter(*(field for field, _ in STRUCTS[name])) for name in STRUCTS}


def read(name: str, value: Any) -> None:
    """Touch every field of a struct."""
    if value is not None:
        (_ITEMS if isinstance(value, dict) else _ATTRIBUTES)[name](value)


def _positions(way: Way) -> None:
    values = way.call("positions_get")
    for value in values or ():
        read("TradePosition", value)


def _symbol(way: Way) -> None:
    read("SymbolInfo", way.call("symbol_info", stub.SYMBOL))


CHANGING = ", changing"
"""Ends the name of an operation whose answer has other values at each call."""
OPERATIONS: dict[str, Callable[[Way], Any]] = {
    "symbol_info_tick": lambda way: way.call("symbol_info_tick", stub.SYMBOL),
    "account_info": lambda way: way.call("account_info"),
    "symbol_info, 96 fields read": _symbol,
    f"symbol_info_tick{CHANGING}": lambda way: way.call("symbol_info_tick", stub.SYMBOL),
    f"account_info{CHANGING}": lambda way: way.call("account_info"),
    f"symbol_info, 96 fields read{CHANGING}": _symbol,
    "positions_get, 100 read": _positions,
    "order_send": lambda way: way.call("order_send", dict(stub.ORDER)),
    "1,000 bars": lambda way: way.call("copy_rates_from_pos", stub.SYMBOL, 1, 0, 1_000),
    "100,000 bars": lambda way: way.call("copy_rates_from_pos", stub.SYMBOL, 1, 0, 100_000),
    "1,000,000 bars": lambda way: way.call("copy_rates_from_pos", stub.SYMBOL, 1, 0, 1_000_000),
    "1,000,000 ticks": lambda way: way.call("copy_ticks_from", stub.SYMBOL, 0, 1_000_000, -1),
}
