"""Addresses as the farm writes them: `unix:/path` or `host:port`."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path


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

    def connect(self, timeout: float) -> socket.socket:
        """A connected socket. Raises OSError."""
        if self.path is None:
            return socket.create_connection((self.host, self.port), timeout)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
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
        # Made under another name, so that the path exists only once it answers.
        draft = self.path.with_name(f"{self.path.name}~")
        draft.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
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
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(f"{text!r} is neither unix:/path nor host:port")
    return Address(host=host.strip("[]"), port=int(port))
