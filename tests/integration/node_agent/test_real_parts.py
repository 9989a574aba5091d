"""The agent with the farm's own terminal, bridge and bot, on a simulated broker: deals of the broker's books arrive."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt5_bridge.simulated.admin import BrokerAdmin
from node_agent.protocol.messages import DealBody, DesiredBot
from tests.broker_process import running_broker
from tests.integration.node_agent.agent_node import AgentNode, bot_id, terminal_id
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

PASSWORD = "demo-password-1"


@pytest.fixture
def broker() -> Iterator[tuple[str, BrokerAdmin]]:
    with running_broker(speed=600) as started:
        yield started


@pytest.fixture
def real_node(tmp_path: Path) -> Iterator[AgentNode]:
    plane = ControlPlaneStandIn(tmp_path)
    node = AgentNode(plane, module="node_agent.cli")
    try:
        yield node
    finally:
        node.clean_up()
        plane.close()


def recorded(node: AgentNode) -> dict[int, DealBody]:
    events = (event.body for event in node.plane.seen.events.values())
    return {body.ticket: body for body in events if isinstance(body, DealBody)}


def test_what_a_bot_trades_arrives_whatever_is_killed_meanwhile(
    real_node: AgentNode, broker: tuple[str, BrokerAdmin]
) -> None:
    address, admin = broker
    node = real_node
    login = admin.create_account(password=PASSWORD)
    bot = DesiredBot(
        bot_id=bot_id(1),
        revision=1,
        strategy="moving_average_cross",
        symbol="EURUSD",
        timeframe="M1",
        volume=0.1,
        magic=11,
        parameters={"fast": 2, "slow": 4},
    )
    node.plane.want(node.desired(1, PASSWORD, login=login, server="MT5Farm-Demo", server_address=address, bots=[bot]))
    node.start()
    node.wait_phase(1, "ready", 30)
    node.wait_bot(1, 1, "running", 20)
    for role in ("bot", "worker", "terminal"):
        before = len(recorded(node))
        os.kill(node.processes_of(1)[role], signal.SIGKILL)
        wait_until(lambda before=before: len(recorded(node)) >= before + 2, 40, f"deals after the {role} was killed")
    node.wait_phase(1, "ready", 20)
    node.plane.want(
        node.desired(1, PASSWORD, login=login, server="MT5Farm-Demo", server_address=address, running=False)
    )
    node.wait_phase(1, "stopped", 20)
    book = {deal.ticket: deal for deal in admin.deals(login)}
    wait_until(lambda: set(recorded(node)) == set(book), 10, "the books agree")
    assert {ticket: body.profit for ticket, body in recorded(node).items()} == {
        ticket: deal.profit for ticket, deal in book.items()
    }
    orders = [event for event in node.plane.seen.events.values() if event.body.kind == "order"]
    assert {event.body.principal for event in orders if event.body.kind == "order"} == {f"bot:{bot_id(1)}"}


def test_a_wrong_password_and_an_unknown_server_are_told_apart(
    real_node: AgentNode, broker: tuple[str, BrokerAdmin]
) -> None:
    address, admin = broker
    node = real_node
    login = admin.create_account(password=PASSWORD)
    wrong = node.desired(1, "wrong-password", login=login, server="MT5Farm-Demo", server_address=address)
    lost = node.desired(2, PASSWORD, login=login, server="No-Such-Server", server_address=None)
    node.plane.want(wrong, lost)
    node.start()
    assert node.wait_phase(1, "failed", 30).reason == "bad_credentials"
    seen = wait_until(lambda: (now := node.observed(2)) and now.reason and now, 30, "a reason")
    assert (seen.phase, seen.reason) == ("logging_in", "broker_unreachable")
    assert ("terminal", terminal_id(1)) not in node.processes()
