"""Who gets a ticket to look at a terminal's screen, what is written down of it, and what the others are told."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from control_plane.brokers.service import add_server
from control_plane.identity.state import Role
from node_agent.protocol.messages import DesiredTerminal, Phase
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import NodePlayer, Trader, World, observed

REAL = "Real-Live"
WHY = {"reason": "the owner asked why it does not start"}


@pytest.fixture
def node(world: World) -> NodePlayer:
    """It runs real terminals in containers."""
    with world.farm.database.write_as_system() as session:
        add_server(session, world.clock, REAL, "Real", None)
    return world.node(runtimes=("simulated", "wine_container"))


def real_account(world: World, trader: Trader, node: NodePlayer) -> tuple[str, DesiredTerminal]:
    """An account whose terminal has a place in a container, of which nothing is known yet."""
    trader.enrol_second_factor()  # whose money is real
    account: str = trader.connect(server=REAL)["id"]
    world.run_loops()
    node.sync()
    [wanted] = [each for each in node.desired if each.account_id == account]
    assert wanted.runtime == "wine_container"
    return account, wanted


def looks(world: World, tenant_id: str | None = None) -> list[AuditEntry]:
    with world.farm.database.read_as_system() as session:
        query = select(AuditEntry).where(AuditEntry.action == "look_at_screen").order_by(AuditEntry.at)
        return [each for each in session.scalars(query) if tenant_id in (None, each.tenant_id)]


def screen_of(trader: Trader, account: str) -> tuple[bool, str]:
    shown = trader.call("GET", f"/accounts/{account}")["terminal"]["screen"]
    return shown["available"], shown["note"]


class TestTheOwner:
    def test_gets_one_once_the_node_shows_the_screen(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = real_account(world, trader, node)
        assert screen_of(trader, account) == (False, "The terminal does not run at the moment.")
        node.sync(observed(wanted, phase=Phase.LAUNCHING, screen=True))
        assert screen_of(trader, account) == (True, "")
        shown = trader.call("POST", f"/accounts/{account}/tickets", 201, {"scope": "view"})
        assert (shown["terminal_id"], shown["server_name"]) == (wanted.terminal_id, node.node_id)
        with world.farm.database.read_as_system() as session:
            [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "issue_ticket"))
        assert (entry.actor, '"scope":"view"' in entry.after) == (trader.user["id"], True)

    def test_is_told_that_the_node_shows_none(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = real_account(world, trader, node)
        node.sync(observed(wanted))
        problem = trader.call("POST", f"/accounts/{account}/tickets", 409, {"scope": "view"})
        assert problem["code"] == "no_screen"
        assert "can switch that on" in problem["detail"]
        assert screen_of(trader, account) == (False, problem["detail"])

    def test_is_told_that_simulated_terminals_have_none(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        node.sync(observed(wanted, screen=True))  # whatever it says
        problem = trader.call("POST", f"/accounts/{account}/tickets", 409, {"scope": "view"})
        assert problem["detail"] == "Simulated terminals have no screen."

    def test_is_not_shown_that_of_an_older_epoch(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = real_account(world, trader, node)
        node.sync(observed(wanted, screen=True))
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        node.sync()
        node.sync(observed(wanted, phase=Phase.STOPPED))
        trader.call("POST", f"/accounts/{account}/deploy", 202)
        world.run_loops()
        assert screen_of(trader, account)[0] is False


class TestTheOperator:
    def look(self, person: Trader, node: NodePlayer, terminal_id: str, status: int = 201) -> dict[str, str]:
        path = f"/nodes/{node.node_id}/terminals/{terminal_id}/view-tickets"
        shown: dict[str, str] = person.call("POST", path, status, WHY)
        return shown

    def test_gets_one_with_a_reason_that_both_tenants_read(self, world: World, node: NodePlayer) -> None:
        brokers = add_tenant(world, "Broker")
        client = world.trader("client@broker.example")
        move_user(world, client.user["id"], brokers)
        _, wanted = real_account(world, client, node)
        node.sync(observed(wanted, screen=True))
        operator = world.operator()
        self.look(operator, node, wanted.terminal_id)
        assert {each.tenant_id for each in looks(world)} == {brokers, operator.user["tenant_id"]}
        for entry in looks(world):
            assert (entry.actor, entry.on_behalf_of) == (operator.email, client.user["id"])
            assert WHY["reason"] in entry.reason

    def test_gets_none_where_there_is_no_screen(self, world: World, trader: Trader, node: NodePlayer) -> None:
        _, wanted = world.ready_account(trader, node)
        assert self.look(world.operator(), node, wanted.terminal_id, 409)["code"] == "no_screen"
        assert self.look(world.operator(email="b@example.com"), node, "ter_0000000000000009", 404)
        assert looks(world) == []

    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.BROKER_ADMIN, Role.TRADER])
    def test_other_roles_get_none(self, world: World, trader: Trader, node: NodePlayer, role: Role) -> None:
        _, wanted = real_account(world, trader, node)
        node.sync(observed(wanted, screen=True))
        person = world.operator(role, "someone@example.com")
        assert self.look(person, node, wanted.terminal_id, 403)["code"] == "role_required"
        assert looks(world) == []
