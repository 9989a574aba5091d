"""Service accounts: programs of a tenant, with keys and nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from control_plane.brokers.service import add_server
from control_plane.identity.model import User
from control_plane.identity.state import Role
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import SERVER, Trader, World, browser

pytestmark = pytest.mark.both_databases

PATH = "/service-accounts"


def staff(world: World, tenant_id: str, email: str, role: Role = Role.BROKER_ADMIN) -> Trader:
    person = world.trader(email)
    move_user(world, person.user["id"], tenant_id)
    person.enrol_second_factor()
    world.give_role(person, role)
    return person


@pytest.fixture
def broker(world: World) -> str:
    return add_tenant(world, "Acme")


@pytest.fixture
def admin(world: World, broker: str) -> Trader:
    return staff(world, broker, "admin@broker.example")


def make(by: Trader, role: str = "trader", status: int = 201) -> Any:
    return by.call("POST", PATH, status, {"name": "Back office", "role": role})


def key_of(by: Trader, account: Any, *scopes: str, status: int = 201) -> Any:
    wish = {"name": "Key", "scopes": list(scopes)}
    return by.call("POST", f"{PATH}/{account['id']}/keys", status, wish)


def program(world: World, key: Any) -> httpx.Client:
    return browser(world.farm, Authorization=f"Bearer {key['key']}")


def test_its_key_works_for_the_tenant_and_owns_what_it_makes(world: World, admin: Trader, broker: str) -> None:
    account = make(admin)
    http = program(world, key_of(admin, account, "read", "accounts"))
    me = http.get("/api/v1/me").json()
    assert (me["id"], me["tenant_id"], me["second_factor_missing"]) == (account["id"], broker, False)
    body = {"label": "House", "login": 7001, "password": "broker-secret", "server": SERVER}
    assert http.post("/api/v1/accounts", json=body).status_code == 201
    assert admin.call("GET", "/accounts")["items"] == []
    assert len(http.get("/api/v1/accounts").json()["items"]) == 1


def test_one_of_support_looks_after_people_without_a_second_factor_of_its_own(world: World, admin: Trader) -> None:
    http = program(world, key_of(admin, make(admin, "support"), "members"))
    shown = http.get("/api/v1/members").json()["items"]
    assert [each["email"] for each in shown] == ["admin@broker.example"]  # a program is nobody to look after
    assert http.put("/api/v1/members/usr_x/role", json={}).json()["code"] == "session_required"


def test_it_stores_live_credentials_since_its_key_was_made_with_a_second_factor(world: World, admin: Trader) -> None:
    with world.farm.database.write_as_system() as session:
        add_server(session, world.clock, "Real-Live", "Real Broker", None)
    http = program(world, key_of(admin, make(admin), "accounts"))
    body = {"label": "House", "login": 7001, "password": "broker-secret", "server": "Real-Live"}
    assert http.post("/api/v1/accounts", json=body).status_code == 201


def test_it_cannot_sign_in_and_no_mail_goes_to_it(world: World, admin: Trader) -> None:
    make(admin)
    with world.farm.database.read_as_system() as session:
        row = session.scalars(select(User).where(User.kind == "service")).one()
        assert world.farm.identity.runs_the_fleet(row) is False
    assert row.password_hash == ""
    http = browser(world.farm)
    for password in ("", "x"):
        body = {"email": row.email, "password": password}
        assert http.post("/api/v1/auth/sign-in", json=body).status_code in {401, 422}
    assert http.post("/api/v1/auth/request-reset", json={"email": row.email}).status_code == 422


def test_disabling_ends_its_keys_for_good(world: World, admin: Trader, broker: str) -> None:
    account = make(admin)
    http = program(world, key_of(admin, account, "read"))
    assert http.get("/api/v1/me").status_code == 200
    admin.call("POST", f"{PATH}/{account['id']}/disable", 204, {"reason": "not used any more"})
    assert http.get("/api/v1/me").json()["code"] == "bad_api_key"
    assert key_of(admin, account, "read", status=409)["code"] == "service_account_disabled"
    assert admin.call("GET", PATH)["items"][0]["disabled_at"] is not None
    with world.farm.database.read(broker) as session:
        deeds = [(each.actor, each.action) for each in session.scalars(select(AuditEntry)) if "service" in each.action]
    by = "admin@broker.example"
    assert deeds == [(by, "make_service_account"), (by, "make_service_key"), (by, "disable_service_account")]


def test_a_key_can_be_revoked_alone(world: World, admin: Trader) -> None:
    account = make(admin)
    first, second = key_of(admin, account, "read"), key_of(admin, account, "read")
    admin.call("DELETE", f"{PATH}/{account['id']}/keys/{first['id']}", 204)
    assert program(world, first).get("/api/v1/me").status_code == 401
    assert program(world, second).get("/api/v1/me").status_code == 200
    shown = admin.call("GET", f"{PATH}/{account['id']}/keys")["items"]
    assert [each["id"] for each in shown] == [second["id"]]


def test_everything_about_it_needs_a_fresh_proof(world: World, admin: Trader) -> None:
    account = make(admin)
    world.clock.advance(minutes=10)
    for method, path, body in (
        ("POST", PATH, {"name": "Another"}),
        ("POST", f"{PATH}/{account['id']}/keys", {"name": "k", "scopes": ["read"]}),
        ("POST", f"{PATH}/{account['id']}/disable", {"reason": "because"}),
    ):
        assert admin.call(method, path, 403, body)["code"] == "step_up_required"


def test_nobody_gives_it_more_than_they_may_give(world: World, admin: Trader, broker: str) -> None:
    assert make(admin, "ops", 403)["code"] == "role_required"
    assert make(admin, "owner", 422)["code"] == "invalid_input"
    owner = staff(world, broker, "owner@broker.example", Role.OWNER)
    of_ops = make(owner, "ops")
    assert key_of(admin, of_ops, "fleet", status=403)["code"] == "role_required"
    assert key_of(owner, make(owner), "fleet", status=422)["errors"][0]["field"] == "scopes"
    assert key_of(owner, make(owner), "members", status=422)["errors"][0]["field"] == "scopes"


def test_a_person_is_no_service_account_and_a_strangers_does_not_exist(world: World, admin: Trader) -> None:
    other = staff(world, add_tenant(world, "Other"), "admin@other.example")
    theirs = make(other)
    for user_id in (theirs["id"], admin.user["id"]):
        refused = admin.call("POST", f"{PATH}/{user_id}/disable", 404, {"reason": "because"})
        assert refused["code"] == "service_account_not_found"
    assert admin.call("GET", PATH)["items"] == []
