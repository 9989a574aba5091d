"""TLS without Python's layer above it, which checks at each call what the callers here have checked."""

from __future__ import annotations

import ssl
from collections.abc import Callable


def lean_read_and_write(sock: ssl.SSLSocket) -> tuple[Callable[[int], bytes], Callable[[bytes | memoryview], int]]:
    """How to read at most so many bytes from a connected socket, and to write some (how many, it says).

    Python keeps OpenSSL's connection in a private attribute. Where it has none, the public methods do the same; they
    cost more than to encrypt a small frame. A peer that leaves without a farewell is ssl.SSLEOFError, an OSError, or
    no bytes. Not to be called any more once the socket is closed.
    """
    connection = getattr(sock, "_sslobj", None) or sock
    return connection.read, connection.write
