"""What ends a session through the gateway, and what does not; and a caller that will not speak."""

from __future__ import annotations

import signal
import socket
import ssl
from typing import Any

import pytest

from mt5_bridge.client import BridgeError, MetaTrader5
from tests.integration.node_agent.agent_node import AgentNode
from tests.integration.node_agent.control_plane_stand_in import NODE_ID, wait_until
from tests.integration.node_agent.test_gateway import address, open_session, refusal, ticket


@pytest.fixture
def ready(node: AgentNode) -> AgentNode:
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready")
    wait_until(node.layout.gateway_files.ready.exists, 10, "the gateway listens")
    return node


def has_ended(terminal: MetaTrader5) -> bool:
    try:
        terminal.describe()
    except (BridgeError, ConnectionError):
        return True
    return False


def test_a_session_ends_with_its_permission_and_its_neighbours_go_on(ready: AgentNode) -> None:
    first = open_session(ready, ticket(ready, ticket_id="first"))
    second = open_session(ready, ticket(ready, ticket_id="second"))
    with first, second:
        ready.plane.revoke("first")
        wait_until(lambda: has_ended(first), 10, "the session of the revoked ticket ends")
        assert not has_ended(second)
        ready.plane.want(ready.desired(1, access_epoch=1))
        wait_until(lambda: has_ended(second), 10, "the sessions of the older access epoch end")
    assert refusal(ready, ticket(ready)) == "ticket_revoked"
    with open_session(ready, ticket(ready, access_epoch=1)) as terminal:
        assert not has_ended(terminal)
        # What was taken back stays so, and what was given stays, whatever becomes of the agent.
        ready.end(signal.SIGKILL)
        assert refusal(ready, ticket(ready)) == "ticket_revoked"
        known = len(ready.plane.seen.syncs)
        ready.start()
        wait_until(lambda: len(ready.plane.seen.syncs) > known + 1, 10, "the new agent syncs")
        assert not has_ended(terminal)


def test_callers_that_will_not_speak_keep_nobody_out(ready: AgentNode) -> None:
    host, _, port = address(ready).rpartition(":")
    silent: list[Any] = [socket.create_connection((host, int(port)), 5) for _ in range(60)]
    try:
        # The bound is per address, and this test has two: the second still gets in while the first is full.
        context = ssl.create_default_context(cadata=ready.plane.authority.pem)
        other = socket.create_connection((host, int(port)), 5, source_address=("127.0.0.2", 0))
        with context.wrap_socket(other, server_hostname=NODE_ID) as greeted:
            assert greeted.version() == "TLSv1.3"
        closed = [each for each in silent if is_closed(each)]
        assert 10 <= len(closed) <= 20, "what is above the bound is turned away at once"
        wait_until(lambda: all(is_closed(each) for each in silent), 20, "the others are cut when their time is up")
    finally:
        for each in silent:
            each.close()
    with open_session(ready, ticket(ready)) as terminal:
        assert not has_ended(terminal)


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
