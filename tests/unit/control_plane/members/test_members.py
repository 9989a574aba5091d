"""Looking after the people of one's own tenant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from control_plane.identity.state import Role
from control_plane.members.state import MAY_CHANGE, may_change_role
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import Trader, World

pytestmark = pytest.mark.both_databases
WHY = "asked for it"
ROLES = st.sampled_from(Role)


@given(by=ROLES, before=ROLES, after=ROLES)
def test_only_the_owner_makes_and_unmakes_those_who_run_things(by: Role, before: Role, after: Role) -> None:
    if may_change_role(by, before, after):
        assert by in MAY_CHANGE
        assert by is Role.OWNER or {before, after} <= {Role.TRADER, Role.SUPPORT}


def give(person: Trader, user_id: str, role: Role, status: int) -> None:
    headers = {"If-Match": "*"}
    response = person.http.put(f"/api/v1/members/{user_id}/role", json={"role": role, "reason": WHY}, headers=headers)
    assert response.status_code == status, response.text


def test_support_sees_how_somebodys_terminals_are_and_no_money(world: World, trader: Trader) -> None:
    account = trader.connect()
    support = world.operator(Role.SUPPORT, "support@example.com")
    people = support.call("GET", "/members")["items"]
    assert [each["email"] for each in people] == ["trader@example.com", "support@example.com"]
    (shown,) = support.call("GET", f"/members/{trader.user['id']}/accounts")["items"]
    assert shown["terminal"] == account["terminal"] | {"explanation": shown["terminal"]["explanation"]}
    assert set(shown) == {"id", "label", "login", "server", "terminal"}
    support.call("GET", f"/accounts/{account['id']}", 404)


def test_a_role_counts_at_once_and_is_written_down(world: World, trader: Trader) -> None:
    owner = world.operator(Role.OWNER, "owner@example.com")
    trader.call("GET", "/members", 403)
    give(owner, trader.user["id"], Role.SUPPORT, 200)
    assert trader.call("GET", "/members", 403)["code"] == "second_factor_required"
    trader.enrol_second_factor()
    trader.call("GET", "/members")
    with world.farm.database.read_as_system() as session:
        (row,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "set_role"))
    assert (row.actor, row.reason) == ("owner@example.com", WHY)
    assert (row.before, row.after) == ('{"role":"trader"}', '{"role":"support"}')


def test_nobody_gives_themselves_a_role(world: World) -> None:
    for role in MAY_CHANGE:
        person = world.operator(role, f"{role}@example.com")
        give(person, person.user["id"], Role.OWNER, 403)


def test_a_broker_admin_makes_nobody_an_owner(world: World, trader: Trader) -> None:
    admin = world.operator(Role.BROKER_ADMIN, "admin@example.com")
    give(admin, trader.user["id"], Role.SUPPORT, 200)
    for role in (Role.OPS, Role.BROKER_ADMIN, Role.OWNER):
        give(admin, trader.user["id"], role, 403)


def test_people_of_another_tenant_do_not_exist(world: World, trader: Trader) -> None:
    admin = world.trader("admin@broker.example")
    move_user(world, admin.user["id"], add_tenant(world, "broker"))
    admin.enrol_second_factor()
    world.give_role(admin, Role.BROKER_ADMIN)
    assert [each["email"] for each in admin.call("GET", "/members")["items"]] == ["admin@broker.example"]
    admin.call("GET", f"/members/{trader.user['id']}/accounts", 404)
    give(admin, trader.user["id"], Role.SUPPORT, 404)


def test_a_role_is_given_to_whom_one_has_seen(world: World, trader: Trader) -> None:
    first, second = (world.operator(Role.OWNER, f"{name}@example.com") for name in ("first", "second"))
    path = f"/api/v1/members/{trader.user['id']}"
    seen = first.http.get(path).headers["etag"]
    wish = {"role": Role.SUPPORT, "reason": WHY}
    assert first.http.put(f"{path}/role", json=wish).json()["code"] == "precondition_required"
    given = second.http.put(f"{path}/role", json=wish, headers={"If-Match": seen})
    assert (given.status_code, given.headers["etag"] == seen) == (200, False)
    late = first.http.put(f"{path}/role", json=wish | {"role": Role.OPS}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert first.call("GET", f"/members/{trader.user['id']}")["role"] == Role.SUPPORT


def test_members_are_found_by_role(world: World, trader: Trader) -> None:
    support = world.operator(Role.SUPPORT, "support@example.com")
    assert [each["id"] for each in support.call("GET", "/members?role=trader")["items"]] == [trader.user["id"]]
