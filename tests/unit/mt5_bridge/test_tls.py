"""TLS is read and written below Python's layer, and through it where there is no below."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from typing import cast

from mt5_bridge.tls import lean_read_and_write


class WithoutInside:
    """A Python whose TLS sockets keep their connection elsewhere."""

    def __init__(self, sock: socket.socket) -> None:
        self.read, self.write = sock.recv, sock.send


def test_without_the_private_attribute_the_public_methods_serve() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        read, write = lean_read_and_write(cast("ssl.SSLSocket", WithoutInside(ours)))
        assert write(b"asked") == 5
        assert theirs.recv(16) == b"asked"
        theirs.sendall(b"answered")
        assert read(16) == b"answered"
