"""`mt5farm nodes set`, `pools` and `placements` on the database of a farm, and what a person reads."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner, Result

from control_plane import cli
from control_plane.errors import InvalidInputError
from tests.tenants import add_tenant
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


WHY = ("--reason", "for a test")


def test_a_node_is_told_what_it_is_for(world: World, node: NodePlayer) -> None:
    tenant = add_tenant(world, "broker")
    run(world, "pools", "set", "fast", "--strategy", "pack", "--terminal-mib", "300", "--label", "disk=ssd", *WHY)
    options = ("--pool", "fast", "--region", "london", "--label", "disk=ssd", "--dedicated-to", tenant)
    shown = run(world, "nodes", "set", "node-1", *options, *WHY)
    assert f"pool fast, region london, disk=ssd, kept for {tenant}, goes out from" in shown
    kept = run(world, "nodes", "set", "node-1", "--outgoing-address", "198.51.100.7", *WHY)
    assert f"disk=ssd, kept for {tenant}, goes out from 198.51.100.7" in kept
    bare = run(world, "nodes", "set", "node-1", "--no-labels", "--dedicated-to", "", "--region", "", *WHY)
    assert "pool fast, region none, goes out from" in bare
    listed = run(world, "pools", "list")
    assert "fast pack disk=ssd 300 MiB 1" in listed
    assert "default spread no labels as usual 0" in listed


def test_where_a_tenants_terminals_go(world: World, node: NodePlayer) -> None:
    tenant = add_tenant(world, "broker")
    shown = run(world, "pools", "tenant", tenant, "--only-dedicated", *WHY)
    assert f"broker {tenant} default yes 0" in shown


def test_who_waits_and_why(world: World, trader: Trader) -> None:
    terminal = trader.connect()["terminal"]["id"]
    world.run_loops()
    assert "Waiting for the first node to be enrolled." in run(world, "placements", "waiting")
    world.node()
    world.run_loops()
    shown = run(world, "placements", "show", terminal)
    assert "asks for pool default, region any, no labels" in shown
    assert re.search(r"when it was placed: Placed on node-1", shown)
    wished = run(world, "placements", "demand", terminal, "--region", "tokyo", *WHY)
    assert "now: Waiting for a node in the region tokyo." in wished


def test_a_token_says_what_a_new_node_is(world: World) -> None:
    told = invoke(world, "enroll-token", "--name", "n", "--region", "tokyo", "--label", "disk=ssd").output
    given = json.loads(told.splitlines()[-1])
    assert given["token"].startswith("mfe_")
    with pytest.raises(InvalidInputError, match="There is no pool fast; there are default"):
        invoke(world, "enroll-token", "--name", "n", "--pool", "fast")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nodes", "set", "node-1", "--label", "ssd", *WHY), "write name=value"),
        (("nodes", "set", "node-1", "--reason", " "), "say why"),
    ],
)
def test_what_cannot_be_understood_is_said(
    world: World, node: NodePlayer, arguments: tuple[str, ...], said: str
) -> None:
    result = invoke(world, *arguments)
    assert result.exit_code == 2
    assert said in result.output
