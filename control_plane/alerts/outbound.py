"""HTTP to addresses that users have given: public ones only, each name resolved once and the answer connected to.

A name that answers differently when it is asked again (DNS rebinding) gains nothing, redirects are not followed, and
neither a slow nor an endless answer holds anybody up.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CONNECT_SECONDS = 5.0
_WHOLE_SECONDS = 15.0
_MOST_BYTES = 8 * 1024
_PORTS = {"https": 443, "http": 80}
_MOST_ADDRESSES = 4
"""Of one host that are tried."""
_INNER_NAMES = frozenset({"localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_INNER_NETWORKS = tuple(
    ipaddress.ip_network(each) for each in ("168.63.129.16/32", "192.0.0.0/24", "2001::/23", "3fff::/20")
)
"""What Python does not call private, or not in all versions. The first is Azure's service for its own machines, and
Oracle's lies in the second; those of the other clouds are link-local."""


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
    """From the question for the name to the last byte of the answer."""

    def check(self, url: str) -> None:
        """What can be told of an address without asking anybody. Raises UnsafeAddressError."""
        parts = _parts(url)
        host = (parts.hostname or "").rstrip(".")
        literal = _literal(host)
        if literal is not None:
            self._require(parts, literal)
        elif self.allowed:
            pass  # names of the operator's own networks have all shapes
        elif parts.scheme != "https":
            raise UnsafeAddressError("The address has to begin with https://.")
        elif "." not in host or host.rpartition(".")[2] in _INNER_NAMES:
            raise UnsafeAddressError("The address leads into a private network.")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises UnsafeAddressError, UndeliveredError. An answer other than 2xx is an error, a redirect as well."""
        parts = _parts(url)
        began = time.monotonic()
        ends_at = began + self.whole_seconds
        addresses = self._addresses_of(parts, ends_at)
        try:
            status = self._exchange(parts, addresses, ends_at, headers, body)
        except TimeoutError:
            raise UndeliveredError("The receiver did not answer in time.", None, _since(began)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = f"No usable answer came: {type(error).__name__}."
            raise UndeliveredError(problem, None, _since(began)) from None
        if not 200 <= status < 300:
            raise UndeliveredError(f"The receiver answered {status}.", status, _since(began))
        return Answer(status, _since(began))

    def _exchange(
        self, parts: SplitResult, addresses: Sequence[str], ends_at: float, headers: Mapping[str, str], body: bytes
    ) -> int:
        """The status that was answered. Raises OSError, HTTPException, ValueError."""
        connection = self._connection(parts, addresses, ends_at)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, {"user-agent": "MT5Farm", **headers})
            with connection.getresponse() as response:
                response.read(_MOST_BYTES)
                return response.status
        finally:
            connection.close()

    def _addresses_of(self, parts: SplitResult, ends_at: float) -> list[str]:
        """All addresses of the host, each of which was found to be harmless."""
        host, port = parts.hostname or "", _port(parts)
        try:
            found = _within(lambda: self.resolve(host, port), ends_at)
        except TimeoutError:
            raise UndeliveredError("The name of the host could not be looked up in time.") from None
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise UndeliveredError("The name of the host is not known.")
        for each in found:
            self._require(parts, ipaddress.ip_address(each.partition("%")[0]))
        return found[:_MOST_ADDRESSES]

    def _require(self, parts: SplitResult, address: Address) -> None:
        if any(address in network for network in self.allowed if network.version == address.version):
            return
        if parts.scheme != "https":
            raise UnsafeAddressError("The address has to begin with https://.")
        if not _is_public(address):
            raise UnsafeAddressError("The address leads into a private network.")

    def _connection(self, parts: SplitResult, addresses: Sequence[str], ends_at: float) -> _PinnedHttp:
        host, port = parts.hostname or "", _port(parts)
        if parts.scheme == "http":
            return _PinnedHttp(host, port, addresses, ends_at)
        return _PinnedHttps(host, port, addresses, ends_at, ssl.create_default_context(cadata=self.ca_pem))


class _PinnedHttp(http.client.HTTPConnection):
    """Connects to the first of some addresses that answers, whatever the name of the host says now."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], ends_at: float) -> None:
        super().__init__(host, port)
        self._addresses = addresses
        self._ends_at = ends_at

    def connect(self) -> None:
        self.sock = _EndingSocket(self._open(), self._ends_at)

    def _open(self) -> socket.socket:
        for address in self._addresses[:-1]:
            try:
                return self._open_to(address)
            except OSError:
                continue  # the next may be reached: not every machine has a way to IPv6
        return self._open_to(self._addresses[-1])

    def _open_to(self, address: str) -> socket.socket:
        return socket.create_connection((address, self.port), min(_CONNECT_SECONDS, _left(self._ends_at)))


class _PinnedHttps(_PinnedHttp):
    """The same with TLS; the certificate has to be the host's."""

    default_port = _PORTS["https"]

    def __init__(self, host: str, port: int, addresses: Sequence[str], ends_at: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, addresses, ends_at)
        self._context = context

    def _open(self) -> socket.socket:
        plain = super()._open()
        # The time limit of a socket holds for the whole of a handshake.
        plain.settimeout(min(_CONNECT_SECONDS, _left(self._ends_at)))
        try:
            return self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class _EndingSocket:
    """As much of a socket as HTTP needs, until one moment: who sends a byte now and then is never idle otherwise."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._sock = sock
        self._ends_at = ends_at

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(_left(self._ends_at))
            rest = rest[self._sock.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_EndingReader(self._sock, self._ends_at))

    def close(self) -> None:
        self._sock.close()


class _EndingReader(io.RawIOBase):
    """Keeps the socket open until it is closed itself, as a socket's own reader does."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._ends_at = ends_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._ends_at))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


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


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _literal(host: str) -> Address | None:
    """Also for the old spellings of an address, 127.1 and 0x7f000001, which resolvers know."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return _is_public(inner)
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    if any(address in network for network in _INNER_NETWORKS if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _within(work: Callable[[], list[str]], ends_at: float) -> list[str]:
    """Its result, or TimeoutError when it takes longer: nobody can call off a question to a name server."""
    done = Future[list[str]]()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again by the one who waits
            done.set_exception(error)

    threading.Thread(target=run, name="resolve", daemon=True).start()
    return done.result(max(0.0, ends_at - time.monotonic()))


def _left(ends_at: float) -> float:
    """Seconds that remain. Raises TimeoutError when none do."""
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _since(began: float) -> int:
    """In milliseconds."""
    return round((time.monotonic() - began) * 1000)
