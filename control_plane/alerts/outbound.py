"""HTTP to addresses that users have given: public ones only, each name resolved once and the answer connected to.

A name that answers differently when it is asked again (DNS rebinding) gains nothing, redirects are not followed, and
neither a slow nor an endless answer holds anybody up.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CONNECT_SECONDS = 5.0
_WHOLE_SECONDS = 15.0
_MOST_BYTES = 8 * 1024
_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UnsafeAddressError(Exception):
    """The address may not be reached from here. The text is safe to show to its owner."""


class UndeliveredError(Exception):
    """Nobody answered, or not well. The text is safe to show; it holds nothing of the answer."""

    def __init__(self, message: str, status: int | None = None, milliseconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.milliseconds = milliseconds


@dataclass(frozen=True)
class Answer:
    status: int
    milliseconds: int


def _resolve(host: str, port: int) -> list[str]:
    return [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Outbound:
    """`allowed` are networks of the operator's own that may be reached although they are private, also without TLS."""

    allowed: Sequence[Network] = ()
    resolve: Callable[[str, int], list[str]] = _resolve
    ca_pem: str | None = None
    """Trusted instead of the machine's authorities."""
    whole_seconds: float = _WHOLE_SECONDS

    def check(self, url: str) -> None:
        """What can be told of an address without asking anybody. Raises UnsafeAddressError."""
        parts = _parts(url)
        literal = _literal(parts.hostname or "")
        if literal is not None:
            self._require(parts, literal)
        elif parts.scheme != "https" and not self.allowed:
            raise UnsafeAddressError("The address has to begin with https://.")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises UnsafeAddressError, UndeliveredError. An answer other than 2xx is an error, a redirect as well."""
        parts = _parts(url)
        port = parts.port or _PORTS[parts.scheme]
        address = self._address_of(parts, port)
        began = time.monotonic()
        connection = self._connection(parts, address, port)
        ending = threading.Timer(self.whole_seconds, _cut, (connection,))
        ending.start()
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, {"user-agent": "MT5Farm", **headers})
            response = connection.getresponse()
            response.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            took = round((time.monotonic() - began) * 1000)
            raise UndeliveredError(f"No usable answer came: {type(error).__name__}.", None, took) from None
        finally:
            ending.cancel()
            connection.close()
        took = round((time.monotonic() - began) * 1000)
        if not 200 <= response.status < 300:
            raise UndeliveredError(f"The receiver answered {response.status}.", response.status, took)
        return Answer(response.status, took)

    def _address_of(self, parts: SplitResult, port: int) -> str:
        """The first address of the host, once all of them are found to be harmless."""
        host = parts.hostname or ""
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError):
            raise UndeliveredError("The name of the host is not known.") from None
        if not found:
            raise UndeliveredError("The name of the host is not known.")
        for each in found:
            self._require(parts, ipaddress.ip_address(each.partition("%")[0]))
        return found[0]

    def _require(self, parts: SplitResult, address: Address) -> None:
        if any(address in network for network in self.allowed if network.version == address.version):
            return
        if parts.scheme != "https":
            raise UnsafeAddressError("The address has to begin with https://.")
        if not _is_public(address):
            raise UnsafeAddressError("The address leads into a private network.")

    def _connection(self, parts: SplitResult, address: str, port: int) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "http":
            return _PinnedHttp(host, address, port)
        return _PinnedHttps(host, address, port, ssl.create_default_context(cadata=self.ca_pem))


class _PinnedHttp(http.client.HTTPConnection):
    """Connects to one address, whatever the name of the host says now."""

    def __init__(self, host: str, address: str, port: int) -> None:
        super().__init__(host, port, timeout=_CONNECT_SECONDS)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHttps(_PinnedHttp):
    """The same with TLS; the certificate has to be the host's."""

    def __init__(self, host: str, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(host, address, port)
        self._context = context
        self.default_port = _PORTS["https"]

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


def networks(text: str | None) -> tuple[Network, ...]:
    """From a setting, with commas between them. Raises ValueError."""
    return tuple(ipaddress.ip_network(each.strip()) for each in (text or "").split(",") if each.strip())


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(ord(letter) <= 32 or ord(letter) > 126 for letter in url):
        raise UnsafeAddressError("This is not an address of a web server; it looks like https://example.com/hook.")
    if parts.username is not None or parts.password is not None:
        raise UnsafeAddressError("The address must not hold a user or password.")
    return parts


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return _is_public(inner)
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _cut(connection: http.client.HTTPConnection) -> None:
    """A receiver that sends a byte now and then is never idle: the whole exchange ends here."""
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            sock.close()
