"""Bytes of a session that nobody uses are not carried for ever."""

from __future__ import annotations

import socket
import ssl
from typing import cast

from node_agent.gateway.carrying import carry_both_ways
from node_agent.gateway.figures import Traffic


class Plain:
    """What is used of an encrypted socket, without the encryption."""

    def __init__(self, sock: socket.socket) -> None:
        self.settimeout, self.setsockopt, self.fileno = sock.settimeout, lambda *_: None, sock.fileno
        self.read, self.write, self.sendall = sock.recv, sock.send, sock.sendall


def test_a_view_in_which_nothing_moves_ends() -> None:
    far, near = socket.socketpair()
    worker, screen = socket.socketpair()
    with far, near, worker, screen:
        screen.sendall(b"picture")
        carry_both_ways(cast(ssl.SSLSocket, Plain(near)), worker, Traffic(), idle=0.05)
        assert far.recv(100) == b"picture"
