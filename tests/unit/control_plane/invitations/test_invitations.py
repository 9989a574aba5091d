"""Invitations: a link that makes somebody one of a tenant's people, in the role it says, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from control_plane.identity.model import Tenant
from control_plane.identity.state import Role
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import Trader, World, browser, link_in, mail_to

pytestmark = pytest.mark.both_databases

GUEST = "guest@example.com"
ACCEPT = "/api/v1/auth/accept-invitation"
CHOSEN = "four quiet green lamps"


def admin_of(world: World, tenant_id: str, email: str, role: Role = Role.BROKER_ADMIN) -> Trader:
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
    return admin_of(world, broker, "admin@broker.example")


def invite(by: Trader, email: str = GUEST, status: int = 201, **changes: Any) -> Any:
    return by.call("POST", "/members/invitations", status, {"email": email, "role": "trader", **changes})


def accept(world: World, token: str) -> tuple[int, Any]:
    body = {"token": token, "password": CHOSEN, "display_name": "Guest"}
    response = browser(world.farm).post(ACCEPT, json=body)
    return response.status_code, response.json()


def test_the_link_makes_a_user_of_the_tenant_that_invites(world: World, admin: Trader, broker: str) -> None:
    made = invite(admin, "Guest@Example.com", role="support")
    assert (made["email"], made["role"], made["invited_by"]) == (GUEST, "support", "admin@broker.example")
    text = mail_to(world.farm, GUEST)
    assert "admin@broker.example has invited you to Acme" in text
    status, user = accept(world, link_in(text))
    assert (status, user["tenant_id"], user["role"], user["email"]) == (201, broker, "support", GUEST)
    sign_in = browser(world.farm).post("/api/v1/auth/sign-in", json={"email": GUEST, "password": CHOSEN})
    assert sign_in.status_code == 200
    assert admin.call("GET", "/members/invitations")["items"] == []
    with world.farm.database.read(broker) as session:
        deeds = {each.action: each for each in session.scalars(select(AuditEntry))}
    assert deeds["invite"].actor == "admin@broker.example"
    assert '"invited_by"' in deeds["accept_invitation"].after


def test_it_works_once(world: World, admin: Trader) -> None:
    invite(admin)
    token = link_in(mail_to(world.farm, GUEST))
    assert accept(world, token)[0] == 201
    assert accept(world, token)[1]["code"] == "link_spent"


def test_it_ends_by_its_age_when_it_is_revoked_and_with_the_next_one(world: World, admin: Trader) -> None:
    invite(admin, expires_in_days=1)
    old = link_in(mail_to(world.farm, GUEST))
    invite(admin, expires_in_days=1)
    newer = link_in(mail_to(world.farm, GUEST))
    assert accept(world, old)[1]["code"] == "link_spent"
    world.clock.advance(days=1)
    assert accept(world, newer)[1]["code"] == "link_spent"
    admin.call("POST", "/auth/step-up", 204, {"code": admin.code()})
    made = invite(admin)
    token = link_in(mail_to(world.farm, GUEST))
    admin.call("DELETE", f"/members/invitations/{made['id']}", 204)
    assert accept(world, token)[1]["code"] == "link_spent"
    assert admin.call("DELETE", f"/members/invitations/{made['id']}", 404)["code"] == "invitation_not_found"


def test_a_broker_admin_invites_traders_and_support_and_an_owner_everybody(world: World, broker: str) -> None:
    admin = admin_of(world, broker, "admin@broker.example")
    assert invite(admin, status=403, role="owner")["code"] == "role_required"
    assert invite(admin, status=403, role="broker_admin")["code"] == "role_required"
    owner = admin_of(world, broker, "owner@broker.example", Role.OWNER)
    invite(owner, role="broker_admin")


def test_it_needs_a_fresh_proof(world: World, admin: Trader) -> None:
    world.clock.advance(minutes=10)
    assert invite(admin, status=403)["code"] == "step_up_required"


def test_another_tenant_neither_sees_nor_revokes_it(world: World, admin: Trader) -> None:
    other = admin_of(world, add_tenant(world, "Other"), "admin@other.example")
    made = invite(admin)
    assert other.call("GET", "/members/invitations")["items"] == []
    other.call("DELETE", f"/members/invitations/{made['id']}", 404)
    assert [each["id"] for each in admin.call("GET", "/members/invitations")["items"]] == [made["id"]]


def test_who_invites_does_not_learn_who_has_an_account_elsewhere(world: World, admin: Trader, trader: Trader) -> None:
    known, unknown = invite(admin, trader.email), invite(admin)
    assert known.keys() == unknown.keys()
    text = mail_to(world.farm, trader.email)
    assert "has an account already" in text
    assert "#" not in text


def test_a_sign_up_in_between_makes_the_link_useless(world: World, admin: Trader) -> None:
    invite(admin)
    token = link_in(mail_to(world.farm, GUEST))
    world.trader(GUEST)
    assert accept(world, token)[1]["code"] == "link_spent"


def test_a_guessable_password_leaves_the_link_as_it_is(world: World, admin: Trader) -> None:
    invite(admin)
    token = link_in(mail_to(world.farm, GUEST))
    body = {"token": token, "password": "guest1234", "display_name": "Guest"}
    assert browser(world.farm).post(ACCEPT, json=body).json()["code"] == "password_guessable"
    assert accept(world, token)[0] == 201


def test_the_operator_invites_the_first_of_a_broker_from_the_command_line(world: World, broker: str) -> None:
    with world.farm.database.write_as_system() as session:
        tenant = session.scalars(select(Tenant).where(Tenant.name == "Acme")).one()
        world.farm.invitations.put(session, tenant.id, "root", GUEST, Role.OWNER, timedelta(days=3))
    status, user = accept(world, link_in(mail_to(world.farm, GUEST)))
    assert (status, user["tenant_id"], user["role"]) == (201, broker, "owner")
    assert user["second_factor_missing"] is True
