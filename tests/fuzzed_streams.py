"""What a hostile client sends after its hello: random bytes, cut frames, foreign kinds, valid calls of wrong types."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl

from hypothesis import strategies as st
from rpyc.core import brine, consts

from mt5_bridge import transport

_kinds = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 255])
_headers = st.builds(transport.FRAME.pack, st.integers(0, 2**32 - 1) | st.integers(0, 100), _kinds)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)
_functions = st.sampled_from(
    ["symbol_info_tick", "copy_rates_from_pos", "order_send", "farm.journal", "farm.configure", "eval"]
)
_calls = st.builds(
    lambda *parts: transport.frame(transport.CALL, json.dumps(parts).encode()),
    _functions | _json,
    st.lists(_json, max_size=4) | _json,
    st.dictionaries(st.text(max_size=8), _json, max_size=3) | _json,
    _json,
)
_wrapped = st.builds(transport.frame, _kinds, st.binary(min_size=1, max_size=300))
_brine = st.binary(max_size=200).map(lambda body: transport.frame(0, b"\x01" + body) + b"\n")
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=15,
)
_handlers = st.sampled_from([consts.HANDLE_CALL, consts.HANDLE_CALLATTR, consts.HANDLE_GETATTR]) | st.integers(0, 25)
_labels = st.sampled_from([consts.LABEL_VALUE, consts.LABEL_TUPLE, consts.LABEL_LOCAL_REF, consts.LABEL_REMOTE_REF])


def _message(sequence: int, handler: int, label: int, arguments: object) -> bytes:
    body: bytes = brine.I1.pack(consts.MSG_REQUEST) + brine.dump((sequence, (handler, (label, arguments))))
    return transport.FRAME.pack(len(body), 0) + body + b"\n"


_rpyc = st.builds(_message, st.integers(0, 9), _handlers, _labels, _values)

streams = st.lists(st.binary(max_size=100) | _headers | _calls | _wrapped | _brine | _rpyc, min_size=1, max_size=6).map(
    b"".join
)
"""Bytes of up to six such pieces."""


def send_and_drain(sock: socket.socket, data: bytes, *, ends: bool = True) -> bytes:
    """What comes back until the other side closes, or has nothing more to say to a client that sends no more.

    A client that `ends` not leaves the closing to the other side. TimeoutError when it does not close.
    """
    received = b""
    with sock, contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
        sock.sendall(data)
        if ends:
            socket.socket.shutdown(sock, socket.SHUT_WR)  # that of a TLS socket would read no more either
        while more := sock.recv(65536):
            received += more
    return received
