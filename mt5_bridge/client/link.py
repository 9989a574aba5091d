"""One connection to a bridge worker: socket, TLS, hello, RPyC. Safe to use from several threads."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rpyc.core import consts

from mt5_bridge import auth, transport
from mt5_bridge.addresses import Address, parse_address
from mt5_bridge.client.errors import BridgeError, BridgeLost
from mt5_bridge.codec import CodecError, decode, encode
from mt5_bridge.contract import FUNCTIONS
from mt5_bridge.refusals import RETRYABLE

CONNECT_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 15.0
_FARM_DEADLINE: Final = 30.0
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

    def _encrypt(self, sock: socket.socket, address: Address) -> socket.socket:
        context = ssl.create_default_context(cadata=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context.wrap_socket(sock, server_hostname=self.server_name or address.host)

    def _hello(self) -> dict[str, Any]:
        if self.ticket is not None:
            return {"ticket": self.ticket}
        return {"token": self.token, "scope": self.scope, "epoch": self.epoch, "principal": self.principal}


class Link:
    """Calls over one connection. A lock keeps one call at a time on it; open several links to overlap calls."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._lock = threading.Lock()
        self._dead = False
        self._socket = endpoint.connect()
        self._connection = transport.connect(self._socket)
        try:
            # The proxy of the method is kept: looking it up costs round trips.
            self._remote = self._connection.root.call
        except Exception as error:
            self.close()
            raise BridgeLost("the connection broke while it was set up") from error

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
        request = (
            function,
            tuple(encode(value) for value in args),
            tuple((name, encode(value)) for name, value in kwargs.items()),
            tuple(options.items()),
        )
        known = FUNCTIONS.get(function)
        # The worker may wait for its turn and then run, each within the deadline.
        timeout = 2 * (known.deadline if known else _FARM_DEADLINE) + _GRACE_SECONDS
        answer = self._exchange(request, timeout)
        try:
            return self._read(answer)
        except CodecError as error:
            self.close()
            raise BridgeLost("the worker's answer cannot be read") from error

    def close(self) -> None:
        """Close the connection. Safe to call twice, and from another thread than the calls."""
        self._dead = True
        with contextlib.suppress(OSError):  # closed already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _exchange(self, request: tuple[Any, ...], timeout: float) -> Any:
        with self._lock:
            if self._dead:
                raise BridgeLost("the connection is closed")
            call = self._connection.async_request
            try:
                answer = call(consts.HANDLE_CALL, self._remote, request, (), timeout=timeout).value
            except Exception as error:
                self.close()
                raise BridgeLost(f"the connection to the terminal broke: {type(error).__name__}") from error
            return answer

    def _read(self, answer: Any) -> tuple[Any, tuple[int, str]]:
        match answer:
            case ("ok", payload, int(code), str(text)):
                return decode(payload), (code, text)
            case ("refused", (str(code), str(message)), _, _):
                raise BridgeError(code, message, code in RETRYABLE)
            case ("raise", (str(name), str(message), str(cause), str(cause_message)), _, _):
                raise _RAISED.get(name, RuntimeError)(message) from _cause(cause, cause_message)
        raise CodecError("not an answer")


def _cause(name: str, message: str) -> Exception | None:
    return _RAISED.get(name, RuntimeError)(message) if name else None
