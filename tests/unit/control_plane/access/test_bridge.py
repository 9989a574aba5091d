"""The pool of sessions with terminals: one at a time, kept while good, replaced when lost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from control_plane.access.bridge import BridgeDoor
from control_plane.access.port import LinkLostError, RefusedError, Target
from control_plane.access.service import ask
from control_plane.errors import ConflictError
from mt5_bridge.client import BridgeError, BridgeLost
from node_agent.protocol.tickets import Scope
from tests.unit.control_plane.world import World

TARGET = Target("ter_1", "nod_1", "127.0.0.1:4443", 3)


@dataclass
class Client:
    """Answers, or fails with the errors it is given, in order."""

    failures: list[Exception] = field(default_factory=list)
    closed: bool = False

    def symbol_info(self, symbol: str) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return symbol

    def close(self) -> None:
        self.closed = True


@dataclass
class Gateway:
    """Makes clients; remembers with what."""

    clients: list[Client] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    refuse: Exception | None = None
    now: float = 1000.0

    def connect(self, address: str, **options: Any) -> Any:
        if self.refuse is not None:
            raise self.refuse
        self.calls.append({"address": address, **options})
        self.clients.append(Client())
        return self.clients[-1]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def door(world: World, gateway: Gateway) -> BridgeDoor:
    return BridgeDoor(world.farm.tickets, "CA", gateway.connect, lambda: gateway.now)


def use(door: BridgeDoor, target: Target = TARGET, scope: Scope = Scope.READ, principal: str = "service:x") -> Any:
    with door.session(target, scope, principal) as terminal:
        return terminal.symbol_info("EURUSD")


def test_a_connection_is_kept_for_the_same_terminal_epoch_scope_and_principal(
    door: BridgeDoor, gateway: Gateway
) -> None:
    use(door)
    use(door)
    assert len(gateway.clients) == 1
    use(door, scope=Scope.TRADE)
    use(door, principal="user:1")
    use(door, Target("ter_1", "nod_1", "127.0.0.1:4443", 4))
    assert len(gateway.clients) == 4


def test_it_goes_to_the_nodes_gateway_and_checks_the_nodes_name(door: BridgeDoor, gateway: Gateway) -> None:
    use(door)
    (call,) = gateway.calls
    assert (call["address"], call["ca"], call["server_name"]) == ("127.0.0.1:4443", "CA", "nod_1")
    assert call["ticket"].count(".") == 2


def test_a_lost_connection_is_dropped_and_the_next_one_is_fresh(door: BridgeDoor, gateway: Gateway) -> None:
    use(door)
    gateway.clients[0].failures = [BridgeLost("cut")]
    with pytest.raises(LinkLostError):
        use(door)
    assert gateway.clients[0].closed
    assert use(door) == "EURUSD"
    assert len(gateway.clients) == 2


def test_a_question_is_put_again_once_over_a_fresh_connection(door: BridgeDoor, gateway: Gateway) -> None:
    use(door)
    gateway.clients[0].failures = [BridgeLost("cut")]
    assert ask(door, TARGET, lambda terminal: terminal.symbol_info("EURUSD")) == "EURUSD"


def test_a_refusal_keeps_the_connection(door: BridgeDoor, gateway: Gateway) -> None:
    use(door)
    gateway.clients[0].failures = [BridgeError("busy", "try later", True)]
    with pytest.raises(RefusedError) as refused:
        use(door)
    assert refused.value.code == "busy"
    use(door)
    assert len(gateway.clients) == 1


@pytest.mark.parametrize("failure", [BridgeError("worker_down", "no worker"), BridgeLost("no route")])
def test_a_gateway_that_says_no_means_not_ready(door: BridgeDoor, gateway: Gateway, failure: Exception) -> None:
    gateway.refuse = failure
    with pytest.raises(ConflictError) as raised:
        use(door)
    assert (raised.value.code, raised.value.retryable) == ("terminal_not_ready", True)
    gateway.refuse = None
    assert use(door) == "EURUSD"


def test_one_caller_at_a_time(door: BridgeDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.access.bridge._BUSY_SECONDS", 0.01)
    codes: list[str] = []

    def other() -> None:
        try:
            use(door)
        except ConflictError as error:
            codes.append(error.code)

    with door.session(TARGET, Scope.READ, "service:x"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert codes == ["terminal_not_ready"]
    assert use(door) == "EURUSD"


def test_idle_connections_are_closed_and_used_ones_are_not(door: BridgeDoor, gateway: Gateway) -> None:
    use(door)
    gateway.now += 61
    with door.session(TARGET, Scope.TRADE, "user:1"):
        door.close_idle()
    assert [client.closed for client in gateway.clients] == [True, False]
    use(door)
    assert len(gateway.clients) == 3
    door.close()
    assert all(client.closed for client in gateway.clients)
