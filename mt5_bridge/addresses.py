"""Addresses as the farm writes them: `unix:/path`, `tcp:host:port` or `host:port`.

Python has no Unix sockets on Windows. There what listens on `unix:/path` takes a free loopback port and writes it into
a file of that path, and who connects reads it: a path stands for one local server on every system. The file's rights
hide the port and cannot guard it, so whoever connects must show the hello token, as everywhere.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mt5_bridge.replacing import put_in_place

_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Where something listens: a Unix socket path, or a host and a port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.path is not None or self.host in {"127.0.0.1", "::1", "localhost"}

    @property
    def is_unix(self) -> bool:
        """Whether it is reached by a Unix socket on this system."""
        return self.path is not None and hasattr(socket, "AF_UNIX")

    def host_and_port(self) -> tuple[str, int]:
        """Where to connect by TCP; for a path on Windows its file says. Raises OSError when nobody has listened."""
        if self.path is None:
            return self.host, self.port
        text = self.path.read_text(encoding="ascii", errors="replace").strip()
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise ConnectionRefusedError(f"{self.path} holds no port")
        return _LOOPBACK, int(text)

    def connect(self, timeout: float) -> socket.socket:
        """A connected socket. Raises OSError."""
        if not self.is_unix:
            sock = socket.create_connection(self.host_and_port(), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        sock = socket.socket(getattr(socket, "AF_UNIX", 0), socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(str(self.path))
        except BaseException:
            sock.close()
            raise
        return sock

    def listen(self) -> socket.socket:
        """A listening socket; a Unix socket replaces a dead one and is this user's alone. Raises OSError."""
        if self.path is None:
            return socket.create_server((self.host, self.port))
        if not self.is_unix:
            return _listen_on_a_port(self.path)
        # Made under another name, so that the path exists only once it answers.
        draft = self.path.with_name(f"{self.path.name}~")
        draft.unlink(missing_ok=True)
        sock = socket.socket(getattr(socket, "AF_UNIX", 0), socket.SOCK_STREAM)
        try:
            sock.bind(str(draft))
            draft.chmod(0o600)
            sock.listen(64)
            draft.replace(self.path)
        except BaseException:
            sock.close()
            raise
        return sock


def parse_address(text: str) -> Address:
    """Read an address. Raises ValueError with a sentence that is safe to show."""
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError("the address unix: lacks a path")
        return Address(path=Path(text.removeprefix("unix:")))
    host, separator, port = text.removeprefix("tcp:").rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(f"{text!r} is neither unix:/path nor host:port")
    return Address(host=host.strip("[]"), port=int(port))


def _listen_on_a_port(path: Path) -> socket.socket:
    """A loopback listener whose port stands in the file. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Windows lets others listen on a port that is in use unless they are kept out.
        if option := getattr(socket, "SO_EXCLUSIVEADDRUSE", None):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind((_LOOPBACK, 0))
        sock.listen(64)
        draft = path.with_name(f"{path.name}~")
        draft.write_text(str(sock.getsockname()[1]), encoding="ascii")
        put_in_place(draft, path)
    except BaseException:
        sock.close()
        raise
    return sock
