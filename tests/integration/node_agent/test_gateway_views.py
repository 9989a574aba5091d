"""Views through the gateway: a ticket of scope `view` leads to the terminal's screen, and to nothing else."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from node_agent.protocol.tickets import Scope
from tests.integration.node_agent.agent_node import AgentNode, terminal_id
from tests.integration.node_agent.control_plane_stand_in import wait_until
from tests.integration.node_agent.test_gateway import raw_connection, refusal, ticket

GREETING = b"RFB 003.008\n"


class ScreenStandIn:
    """Says what screens say first, and hands back what it hears."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                viewer, _ = self._listener.accept()
                threading.Thread(target=self._show, args=(viewer,), daemon=True).start()

    @staticmethod
    def _show(viewer: socket.socket) -> None:
        with viewer, suppress(OSError):
            viewer.sendall(GREETING)
            while data := viewer.recv(65536):
                viewer.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def ready(node: AgentNode) -> AgentNode:
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready")
    wait_until(node.layout.gateway_files.ready.exists, 10, "the gateway listens")
    return node


@pytest.fixture
def screen(ready: AgentNode) -> Iterator[Path]:
    path = ready.layout.terminal(terminal_id(1)).screen_socket
    stand_in = ScreenStandIn(path)
    yield path
    stand_in.close()


def look(node: AgentNode, text: str) -> tuple[ssl.SSLSocket, dict[str, Any]]:
    """The connection, and what the gateway said."""
    connection = raw_connection(node)
    connection.settimeout(20)
    connection.sendall(json.dumps({"v": 1, "ticket": text, "channel": "screen"}).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(1)
    return connection, json.loads(line)


def view_ticket(node: AgentNode, **changes: Any) -> str:
    return ticket(node, **{"scope": Scope.VIEW, **changes})


def why_not(node: AgentNode, text: str) -> str:
    connection, answer = look(node, text)
    connection.close()
    assert answer["ok"] is False
    return str(answer["code"])


def test_a_view_shows_the_screen_until_its_permission_ends(ready: AgentNode, screen: Path) -> None:
    first, answer = look(ready, view_ticket(ready, ticket_id="first"))
    second, _ = look(ready, view_ticket(ready, ticket_id="second"))
    with closing(first), closing(second):
        assert (answer["ok"], answer["scope"]) == (True, "view")
        for each in (first, second):
            assert each.recv(12) == GREETING
        first.sendall(b"x" * 50_000)
        heard = 0
        while heard < 50_000:
            heard += len(first.recv(65536))
        ready.plane.revoke("first")
        assert first.recv(1) == b"", "a revoked ticket ends its view"
        second.sendall(b"still here")
        assert second.recv(10) == b"still here"
        ready.plane.want(ready.desired(1, access_epoch=1))
        assert second.recv(1) == b"", "a newer access epoch ends the others"


def test_tickets_lead_where_their_scope_says(ready: AgentNode, screen: Path) -> None:
    assert why_not(ready, ticket(ready)) == "ticket_other_scope"
    assert refusal(ready, view_ticket(ready)) == "ticket_other_scope"
    assert why_not(ready, view_ticket(ready, epoch=0)) == "stale_epoch"
    text = view_ticket(ready)
    look(ready, text)[0].close()
    assert why_not(ready, text) == "ticket_used"


def test_a_terminal_without_a_screen_says_so(ready: AgentNode) -> None:
    assert why_not(ready, view_ticket(ready)) == "no_screen"
    path = ready.layout.terminal(terminal_id(1)).screen_socket
    ScreenStandIn(path).close()  # what a container that has ended leaves behind
    wait_until(lambda: not answers(path), 10, "nobody listens any more")
    assert why_not(ready, view_ticket(ready)) == "screen_down"


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
