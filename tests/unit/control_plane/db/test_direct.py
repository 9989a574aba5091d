"""Statements past the models touch the rows of one tenant only, or are not run at all."""

from __future__ import annotations

import pytest
from sqlalchemy import Executable, exists, select, union_all, update

from control_plane.access import repository as access_repository
from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.db.direct import execute_as_farm, execute_for, is_own, table_of
from control_plane.db.tenancy import ForeignRowError
from control_plane.fleet.model import Node
from control_plane.identity.owner import Owner
from control_plane.terminals.model import Terminal
from tests.tenants import two_tenants
from tests.unit.control_plane.world import World

pytestmark = pytest.mark.both_databases

ACCOUNTS, TERMINALS, NODES = table_of(Account), table_of(Terminal), table_of(Node)
ASSIGNMENTS = table_of(Assignment)
JOINED = select(ACCOUNTS.c.id).join(TERMINALS, TERMINALS.c.account_id == ACCOUNTS.c.id)
UNBOUND: dict[str, Executable] = {
    "plain": select(ACCOUNTS.c.id),
    "by another column": select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == "x"),
    "by a tenant of its own": select(ACCOUNTS.c.id).where(ACCOUNTS.c.tenant_id == "x"),
    "one of two": JOINED.where(is_own(ACCOUNTS)),
    "half of a union": union_all(select(ACCOUNTS.c.id).where(is_own(ACCOUNTS)), select(TERMINALS.c.id)),
    "inside": select(ACCOUNTS.c.id).where(is_own(ACCOUNTS), exists().where(TERMINALS.c.account_id == ACCOUNTS.c.id)),
    "change": update(ACCOUNTS).values(label="mine"),
    "nodes alone": select(NODES.c.id),
}


@pytest.mark.parametrize("shape", UNBOUND)
def test_a_statement_that_does_not_ask_whose_rows_is_not_run(world: World, shape: str) -> None:
    with world.farm.database.write("ten_x") as session, pytest.raises(ForeignRowError):
        execute_for(session, "ten_x", UNBOUND[shape], {})


def test_the_transaction_of_one_tenant_asks_for_no_other(world: World) -> None:
    with world.farm.database.read("ten_x") as session, pytest.raises(ForeignRowError):
        execute_for(session, "ten_y", select(ACCOUNTS.c.id).where(is_own(ACCOUNTS)), {})


def test_the_farms_own_statements_are_not_run_for_a_tenant(world: World) -> None:
    with world.farm.database.look("ten_x") as facts, pytest.raises(ForeignRowError):
        execute_as_farm(facts, select(ACCOUNTS.c.id), {})
    with world.farm.database.look_as_system() as facts:
        assert execute_as_farm(facts, select(ACCOUNTS.c.id), {}).rows == []


def test_only_rows_of_the_tenant_are_seen_and_changed(world: World) -> None:
    members = two_tenants(world)
    rename = update(ACCOUNTS).where(is_own(ACCOUNTS)).values(label="renamed")
    nodes = select(NODES.c.id, ASSIGNMENTS.c.tenant_id).join(ASSIGNMENTS, ASSIGNMENTS.c.node_id == NODES.c.id)
    for member in members:
        with world.farm.database.write_as_system() as session:  # nothing else would keep them apart here
            seen = execute_for(session, member.tenant_id, JOINED.where(is_own(ACCOUNTS), is_own(TERMINALS)), {})
            assert seen.rows == [(member.account_id,)]
            held = execute_for(session, member.tenant_id, nodes.where(is_own(ASSIGNMENTS)), {})
            assert {row[1] for row in held.rows} == {member.tenant_id}
    with world.farm.database.write_as_system() as session:
        assert execute_for(session, members[0].tenant_id, rename, {}).touched == 1
    assert [each.trader.call("GET", "/accounts")["items"][0]["label"] == "renamed" for each in members] == [True, False]


def test_the_way_to_a_terminal_is_its_owners(world: World) -> None:
    members = two_tenants(world)
    for theirs in members:
        for member in members:
            owner = Owner(member.tenant_id, member.user_id)
            with world.farm.database.read(owner.tenant_id) as session:
                found = access_repository.answering_target(session, owner, theirs.account_id)
            assert (found is not None) is (member is theirs)
