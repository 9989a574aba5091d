"""Carries the bytes of one open session: TLS with the client on one side, the worker's socket on the other.

A small frame is passed on with as little as Python can do it: one wait for both sides, one read, one write, always
through the same few kilobytes, which stay in the processor's cache while three processes take turns.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Final

from mt5_bridge.tls import lean_read_and_write
from node_agent.gateway.figures import Traffic

_RECORD: Final = 16 * 1024
"""The most that one record of TLS holds: a read of so much leaves nothing behind that `poll` could not see."""
_CHUNK: Final = 256 * 1024
STALLED_SECONDS: Final = 60
"""A side that takes nothing for so long ends its session."""


def carry_both_ways(client: ssl.SSLSocket, worker: socket.socket, traffic: Traffic, idle: float | None = None) -> None:
    """Until either side ends. A slow reader slows its writer, so that little is held in memory. Raises OSError.

    Also until nothing has moved for `idle` seconds, if that is given.
    """
    _wait_in_the_kernel(client, worker)
    read, write = lean_read_and_write(client)
    send, receive = worker.sendall, worker.recv
    readable, ours = _readable(idle, client, worker), worker.fileno()
    large, many = memoryview(bytearray(_CHUNK)), False
    data: bytes | memoryview
    while ready := readable():
        for descriptor, _ in ready:
            if descriptor != ours:
                data = read(_RECORD)
                if not data:
                    return
                send(data)
                traffic.bytes_in += len(data)
                continue
            data = large[: worker.recv_into(large)] if many else receive(_RECORD)
            if not data:
                return
            sent = write(data)
            if sent < len(data):
                client.sendall(memoryview(data)[sent:])
            traffic.bytes_out += len(data)
            many = len(data) >= _RECORD


def _readable(idle: float | None, *sockets: socket.socket) -> Callable[[], Sequence[tuple[int, int]]]:
    """A function that waits until something can be read, and gives the descriptors where (and what is to be done);
    none after `idle` seconds.
    """
    if sys.platform == "win32":
        return lambda: [(sock.fileno(), 0) for sock in select.select(sockets, (), (), idle)[0]]
    waiting = select.poll()
    for sock in sockets:
        waiting.register(sock, select.POLLIN)
    if idle is None:
        return waiting.poll
    milliseconds = idle * 1000
    return lambda: waiting.poll(milliseconds)


def _wait_in_the_kernel(client: socket.socket, worker: socket.socket) -> None:
    """Bound every send without the extra system calls of Python's own time-outs."""
    client.settimeout(None)
    worker.settimeout(None)
    if number := getattr(socket, "TCP_USER_TIMEOUT", None):
        client.setsockopt(socket.IPPROTO_TCP, number, STALLED_SECONDS * 1000)
    # Windows takes milliseconds here and not a struct timeval.
    milliseconds = struct.pack("L", 1000 * STALLED_SECONDS)
    stalled = milliseconds if sys.platform == "win32" else struct.pack("ll", STALLED_SECONDS, 0)
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stalled)
