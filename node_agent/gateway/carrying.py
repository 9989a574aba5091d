"""Carries the bytes of one open session: TLS with the client on one side, the worker's socket on the other.

A small frame is passed on with as little as Python can do it: one wait for both sides, one read, one write, always
through the same few kilobytes, which stay in the processor's cache while three processes take turns.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from typing import Final

_RECORD: Final = 16 * 1024
"""The most that one record of TLS holds: a read of so much leaves nothing behind that `poll` could not see."""
_CHUNK: Final = 256 * 1024
STALLED_SECONDS: Final = 60
"""A side that takes nothing for so long ends its session."""


def carry_both_ways(client: ssl.SSLSocket, worker: socket.socket) -> None:
    """Until either side ends. A slow reader slows its writer, so that little is held in memory. Raises OSError."""
    _wait_in_the_kernel(client, worker)
    waiting = select.poll()
    waiting.register(client, select.POLLIN)
    waiting.register(worker, select.POLLIN)
    ours = worker.fileno()
    small, large = memoryview(bytearray(_RECORD)), memoryview(bytearray(_CHUNK))
    buffer = small
    while True:
        for descriptor, _ in waiting.poll():
            if descriptor != ours:
                size = client.recv_into(small)
                if not size:
                    return
                worker.sendall(small[:size])
                continue
            size = worker.recv_into(buffer)
            if not size:
                return
            # Python's own sendall of TLS costs more than the encryption of a small frame.
            sent = client.send(buffer[:size])
            if sent < size:
                client.sendall(buffer[sent:size])
            buffer = large if size >= _RECORD else small


def _wait_in_the_kernel(client: socket.socket, worker: socket.socket) -> None:
    """Bound every send without the extra system calls of Python's own time-outs."""
    client.settimeout(None)
    worker.settimeout(None)
    if number := getattr(socket, "TCP_USER_TIMEOUT", None):
        client.setsockopt(socket.IPPROTO_TCP, number, STALLED_SECONDS * 1000)
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", STALLED_SECONDS, 0))
