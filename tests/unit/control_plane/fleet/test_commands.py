"""`mt5farm nodes ...` on the database of a farm, and what a person reads."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner, Result

from control_plane import cli
from control_plane.errors import ConflictError, NotFoundError
from tests.unit.control_plane.world import NodePlayer, Trader, World


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "240")


def invoke(world: World, *arguments: str) -> Result:
    return CliRunner().invoke(cli.app, [*arguments, "--data", str(world.data)], catch_exceptions=False)


def run(world: World, *arguments: str) -> str:
    result = invoke(world, *arguments)
    assert result.exit_code == 0, result.output
    return re.sub(r"[ │┃]+", " ", result.output)


def test_the_list_shows_what_is_seen_and_what_is_wished(world: World, trader: Trader, node: NodePlayer) -> None:
    world.ready_account(trader, node)
    run(world, "nodes", "cordon", "node-1", "--reason", "new kernel")
    shown = run(world, "nodes", "list")
    assert "node-1 online cordoned trusted 1/4" in shown
    assert node.node_id in shown


def test_a_node_is_shown_with_its_terminals_and_its_history(world: World, trader: Trader, node: NodePlayer) -> None:
    _, wanted = world.ready_account(trader, node)
    run(world, "nodes", "drain", node.node_id, "--reason", "moving house", "--minutes", "5")
    shown = run(world, "nodes", "show", "node-1")
    assert wanted.terminal_id in shown
    assert "0 of 1 gone" in shown
    assert "waits_until_flat" in shown
    assert re.search(r"local:\w+ drain moving house", shown)


def test_every_deed_needs_a_reason(world: World, node: NodePlayer) -> None:
    result = invoke(world, "nodes", "cordon", "node-1", "--reason", " ")
    assert result.exit_code == 2
    assert "say why" in result.output


def test_a_deed_that_does_not_fit_is_refused_and_changes_nothing(world: World, node: NodePlayer) -> None:
    with pytest.raises(ConflictError, match="drain it instead"):
        invoke(world, "nodes", "confirm-dead", "node-1", "--reason", "I believe so")
    with pytest.raises(ConflictError, match="not frozen"):
        invoke(world, "nodes", "lift-breaker", "--reason", "I believe so")
    with pytest.raises(NotFoundError):
        invoke(world, "nodes", "show", "node-9")


def test_two_nodes_of_one_name_must_be_told_apart(world: World, node: NodePlayer) -> None:
    world.node(name="node-1")
    result = invoke(world, "nodes", "show", "node-1")
    assert result.exit_code == 2
    assert "give the id" in result.output


@pytest.mark.parametrize("deed", ["uncordon", "revoke", "cordon"])
def test_plain_deeds(world: World, node: NodePlayer, deed: str) -> None:
    run(world, "nodes", "cordon", "node-1", "--reason", "first")
    shown = run(world, "nodes", deed, "node-1", "--reason", "then this")
    expected = {"uncordon": "open", "revoke": "revoked", "cordon": "cordoned"}[deed]
    assert expected in shown


def test_a_terminal_is_moved_and_its_policy_is_set(world: World, trader: Trader, node: NodePlayer) -> None:
    _, wanted = world.ready_account(trader, node)
    world.node(name="spare")
    node.obey()
    shown = run(world, "nodes", "lease-policy", "node-1", wanted.terminal_id, "self_fence", "--reason", "asked for")
    assert "self_fence" in shown
    assert "node not told yet" in shown
    assert "revoked" in run(world, "nodes", "move", "node-1", wanted.terminal_id, "--reason", "balance")


def test_a_role_is_given_on_the_machine_itself(world: World, trader: Trader) -> None:
    trader.enrol_second_factor()
    trader.call("GET", "/nodes", 403)
    run(world, "set-role", "trader@example.com", "ops")
    trader.call("GET", "/nodes", 200)
    with pytest.raises(NotFoundError):
        invoke(world, "set-role", "nobody@example.com", "ops")
