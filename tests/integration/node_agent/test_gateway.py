"""The gateway as clients meet it: a ticket opens one session with one terminal, everything else is refused politely."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
from contextlib import closing
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mt5_bridge.client import BridgeError, MetaTrader5
from node_agent.gateway.configuration import Ready
from node_agent.protocol import tickets
from node_agent.protocol.tickets import Scope, Ticket
from tests.integration.node_agent.agent_node import AgentNode, terminal_id
from tests.integration.node_agent.control_plane_stand_in import NODE_ID, wait_until

TERMINAL = terminal_id(1)


@pytest.fixture(scope="module")
def ready_node(shared_node: AgentNode) -> AgentNode:
    shared_node.plane.put(shared_node.desired(1))
    shared_node.wait_phase(1, "ready")
    wait_until(shared_node.layout.gateway_files.ready.exists, 10, "the gateway listens")
    return shared_node


def address(node: AgentNode) -> str:
    return Ready.model_validate_json(node.layout.gateway_files.ready.read_bytes()).address


def ticket(node: AgentNode, now: float | None = None, key: Any = None, **changes: Any) -> str:
    values: dict[str, Any] = {
        "ticket_id": os.urandom(8).hex(),
        "node_id": NODE_ID,
        "terminal_id": TERMINAL,
        "epoch": 1,
        "scope": Scope.TRADE,
        "principal": "user:usr_1",
    }
    claims = Ticket(**{**values, **changes})
    return tickets.issue(key or node.plane.ticket_key, "k1", claims, time.time() if now is None else now)


def open_session(node: AgentNode, text: str) -> MetaTrader5:
    return MetaTrader5(address(node), ticket=text, ca=node.plane.authority.pem, server_name=NODE_ID)


def refusal(node: AgentNode, text: str) -> str:
    with pytest.raises(BridgeError) as caught:
        open_session(node, text)
    return caught.value.code


def raw_connection(node: AgentNode) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=node.plane.authority.pem)
    host, _, port = address(node).rpartition(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), 5), server_hostname=NODE_ID)


def test_a_ticket_opens_a_session_with_its_terminal(ready_node: AgentNode) -> None:
    with open_session(ready_node, ticket(ready_node)) as terminal:
        assert terminal.describe()["terminal_id"] == TERMINAL
        assert terminal.account_info().login == 1001


def test_only_tls_1_3_is_spoken(ready_node: AgentNode) -> None:
    with raw_connection(ready_node) as connection:
        assert connection.version() == "TLSv1.3"
    old = ssl.create_default_context(cadata=ready_node.plane.authority.pem)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    host, _, port = address(ready_node).rpartition(":")
    with closing(socket.create_connection((host, int(port)), 5)) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname=NODE_ID)


def test_a_ticket_is_good_once_even_if_the_gateway_is_killed_in_between(ready_node: AgentNode) -> None:
    text = ticket(ready_node)
    open_session(ready_node, text).close()
    assert refusal(ready_node, text) == "ticket_used"
    before = ready_node.processes()["gateway", ""]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: ready_node.processes().get(("gateway", ""), before) != before, 10, "a new gateway")
    wait_until(lambda: ready_node.plane.seen.syncs[-1].report.gateway_up, 10, "it is up")
    wait_until(ready_node.layout.gateway_files.ready.exists, 10, "it listens")
    assert refusal(ready_node, text) == "ticket_used"


def test_wrong_tickets_are_refused_with_their_reason(ready_node: AgentNode) -> None:
    node = ready_node
    stranger = Ed25519PrivateKey.generate()
    good = ticket(node)
    head, body, signature = good.split(".")
    altered = f"{head}.{body[:-4]}AAAA.{signature}"
    assert refusal(node, ticket(node, now=time.time() - 120)) == "ticket_expired"
    assert refusal(node, ticket(node, key=stranger)) == "ticket_invalid"
    assert refusal(node, ticket(node, node_id="nod_fedcba9876543210")) == "ticket_other_node"
    assert refusal(node, ticket(node, terminal_id=terminal_id(99))) == "terminal_not_here"
    assert refusal(node, ticket(node, epoch=0)) == "stale_epoch"
    assert refusal(node, ticket(node, epoch=2)) == "terminal_not_here"
    assert refusal(node, altered).startswith("ticket_")
    assert refusal(node, "no ticket at all").startswith("ticket_")


def test_a_read_ticket_cannot_trade(ready_node: AgentNode) -> None:
    with open_session(ready_node, ticket(ready_node, scope=Scope.READ)) as terminal:
        with pytest.raises(BridgeError) as caught:
            terminal.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0})
        assert caught.value.code == "read_only_ticket"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\x00\xff garbage \xfe\n", "malformed_hello"),
        (b"[]\n", "malformed_hello"),
        (b'{"v":2,"ticket":"x"}\n', "malformed_hello"),
        (b'{"v":1}\n', "malformed_hello"),
        (b"[" * 4000 + b"\n", "malformed_hello"),
        (b"x" * 9000, "malformed_hello"),
    ],
)
def test_a_malformed_hello_is_refused_and_the_connection_closed(ready_node: AgentNode, line: bytes, code: str) -> None:
    with raw_connection(ready_node) as connection:
        connection.sendall(line)
        answer = json.loads(connection.makefile("rb").readline())
        assert (answer["ok"], answer["code"]) == (False, code)
        assert connection.recv(1) == b""


def test_garbage_instead_of_tls_harms_nobody(ready_node: AgentNode) -> None:
    host, _, port = address(ready_node).rpartition(":")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + b"\0" * 600):
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.settimeout(8)
            connection.sendall(garbage)
            try:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except OSError:
                pass  # turned away before the end
    with open_session(ready_node, ticket(ready_node)) as terminal:
        assert terminal.account_info().login == 1001


def test_a_hanging_worker_is_named_and_the_next_session_works(ready_node: AgentNode) -> None:
    node = ready_node
    before = node.processes_of(1)["worker"]
    # It hangs: the gateway says so, and the agent replaces it once its own question has waited too long.
    os.kill(before, signal.SIGSTOP)
    assert refusal(node, ticket(node)) == "worker_down"
    wait_until(lambda: node.processes_of(1).get("worker", before) != before, 10, "a new worker")
    node.wait_phase(1, "ready")
    with open_session(node, ticket(node)) as terminal:
        assert terminal.describe()["terminal_id"] == TERMINAL


def test_a_session_outlives_the_agent_and_ends_when_the_epoch_rises(node: AgentNode) -> None:
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready")
    wait_until(node.layout.gateway_files.ready.exists, 10, "the gateway listens")
    with open_session(node, ticket(node)) as terminal:
        node.end(signal.SIGKILL)
        assert terminal.account_info().login == 1001
        node.start()
        node.wait_phase(1, "ready")
        assert terminal.account_info().login == 1001
        node.plane.want(node.desired(1, epoch=2))

        def ended() -> bool:
            try:
                terminal.describe()
            except (BridgeError, ConnectionError):
                return True
            return False

        wait_until(ended, 10, "the session of the old epoch ends")
    assert refusal(node, ticket(node)) == "stale_epoch"
