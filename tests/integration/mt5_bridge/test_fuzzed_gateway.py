"""Whatever comes through the TLS gateway with a good ticket: gateway and worker live, stay small, and serve others."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from mt5_bridge import transport
from mt5_bridge.client import BridgeError
from node_agent.protocol.tickets import Scope
from tests.benchmarks.bridge.farm import Farm, connected
from tests.fuzzed_streams import send_and_drain, streams

WAY = "worker"
GATEWAY = f"gateway-{WAY}"
GROWTH_MB = 50
ORDER = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1}


class Behind:
    """A worker behind the node's real gateway, each in a process of its own."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        farm.open_gateway(WAY)
        farm.serve(WAY)
        connected(farm.through_gateway(WAY)).close()
        self.assert_serves()
        self.size_at_first = {name: farm.resident(name) for name in (WAY, GATEWAY)}

    def greeted(self, scope: Scope = Scope.TRADE) -> ssl.SSLSocket:
        """A session whose hello has been taken."""
        place = self.farm.ticket(WAY, scope)
        host, _, port = place["address"].rpartition(":")
        context = ssl.create_default_context(cadata=place["ca"])
        raw = socket.create_connection((host, int(port)), 10)
        sock = context.wrap_socket(raw, server_hostname=place["server_name"])
        sock.sendall(json.dumps({"v": 1, "ticket": place["ticket"]}).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            line += sock.recv(1)
        assert json.loads(line)["ok"] is True
        return sock

    def assert_serves(self) -> None:
        with contextlib.closing(self.farm.through_gateway(WAY)) as bridge:
            assert bridge.terminal.account_info().login > 0

    def assert_sound(self) -> None:
        self.assert_serves()
        for name, before in self.size_at_first.items():
            assert self.farm.children[name].poll() is None
            assert self.farm.resident(name) - before < GROWTH_MB, name


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    with Farm() as farm:
        yield Behind(farm)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=streams)
def test_random_frames_end_in_answers_or_a_clean_close(behind: Behind, data: bytes) -> None:
    send_and_drain(behind.greeted(), data)
    assert all(behind.farm.children[name].poll() is None for name in (WAY, GATEWAY))


def test_after_all_that_others_are_served_and_little_was_kept(behind: Behind) -> None:
    behind.assert_sound()


@pytest.mark.parametrize("kind", [transport.RPYC, transport.CALL])
def test_a_huge_length_ends_the_session_before_it_is_read(behind: Behind, kind: int) -> None:
    for length in (2**32 - 1, transport.REQUEST_LIMIT + 1):
        head = transport.FRAME.pack(length, kind)
        assert send_and_drain(behind.greeted(), head + b"x" * 1000, ends=False) == b""
    behind.assert_sound()


def test_frames_that_never_end_keep_nothing_and_hold_nobody_up(behind: Behind) -> None:
    halves = [behind.greeted() for _ in range(8)]
    for sock in halves:
        sock.sendall(transport.FRAME.pack(transport.REQUEST_LIMIT, transport.CALL) + b"[" * 200_000)
    behind.assert_sound()
    for sock in halves:
        sock.close()
    behind.assert_sound()


def answered(sock: ssl.SSLSocket, frame: bytes) -> tuple[str, str]:
    """Status of the answer, and the code of a refusal."""
    sock.sendall(frame)
    content = b""
    while len(content) < transport.FRAME.size or len(content) < _whole(content):
        content += sock.recv(65536)
    status, payload, *_ = transport.unpack_answer(content[4], content[transport.FRAME.size :])
    return status, payload[0] if status == "refused" else ""


def _whole(content: bytes) -> int:
    return int(transport.FRAME.unpack_from(content)[0]) + transport.FRAME.size


def test_a_read_ticket_trades_in_no_form_and_nobody_calls_what_is_not_on_the_list(behind: Behind) -> None:
    with behind.greeted(Scope.READ) as sock:
        for args, kwargs in (((ORDER,), {}), ((), ORDER), ((5,), {})):
            assert answered(sock, transport.pack_call("order_send", args, kwargs, {})) == (
                "refused",
                "read_only_ticket",
            )
        assert answered(sock, transport.pack_call("account_info", (), {}, {}))[0] == "ok"
    with behind.greeted() as sock:
        for function in ("eval", "initialize", "login", "shutdown", "farm.secret", "Buy", "__class__", ""):
            assert answered(sock, transport.pack_call(function, (), {}, {})) == ("refused", "not_allowed")
    with (
        pytest.raises(BridgeError, match="not_allowed"),
        contextlib.closing(behind.farm.through_gateway(WAY)) as bridge,
    ):
        bridge.terminal._link.call("farm.configure", ("{}",), {}, {})  # the agent's alone


def test_a_strategy_that_floods_and_does_not_read_holds_nobody_up(behind: Behind) -> None:
    call = transport.pack_call("account_info", (), {}, {})
    floods = [behind.greeted() for _ in range(4)]
    for sock in floods:
        sock.settimeout(1.0)
        with contextlib.suppress(TimeoutError, ssl.SSLWantWriteError):
            while True:
                sock.sendall(call * 1000)
    begun = time.monotonic()
    for _ in range(10):
        behind.assert_serves()
    assert time.monotonic() - begun < 30
    for sock in floods:
        sock.close()
    behind.assert_sound()
