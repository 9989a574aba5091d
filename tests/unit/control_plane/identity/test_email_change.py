"""Change of one's e-mail address: asked for with a fresh proof, confirmed at the new one, undone from the old one."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from tests.unit.control_plane.world import PASSWORD, Trader, World, browser, link_in, mail_to

pytestmark = pytest.mark.both_databases

OLD, NEW = "trader@example.com", "new@example.com"
AUTH = "/api/v1/auth"


def sign_in(world: World, email: str, password: str = PASSWORD) -> int:
    return browser(world.farm).post(f"{AUTH}/sign-in", json={"email": email, "password": password}).status_code


def ask(world: World, trader: Trader, email: str = NEW) -> str:
    """The secret in the link that went to the new address."""
    trader.call("POST", "/auth/change-email", 202, {"email": email})
    return link_in(mail_to(world.farm, email.lower()))


def undo_link(world: World) -> str:
    mail_to(world.farm, OLD)
    assert world.farm.recorded_post is not None
    texts = [each.text for each in world.farm.recorded_post.newest(100) if each.recipient == OLD]
    return link_in(next(each for each in texts if "undo-email-change" in each))


def test_nothing_changes_until_the_new_address_has_confirmed(world: World, trader: Trader) -> None:
    token = ask(world, trader, "New@Example.com")
    assert (sign_in(world, OLD), sign_in(world, NEW)) == (200, 401)
    assert trader.call("POST", "/auth/confirm-email", 200, {"token": token})["email"] == NEW
    assert (sign_in(world, OLD), sign_in(world, NEW)) == (401, 200)
    assert trader.call("GET", "/me")["email"] == NEW
    assert trader.call("POST", "/auth/confirm-email", 400, {"token": token})["code"] == "link_spent"
    with world.farm.database.read_as_system() as session:
        deed = session.scalars(select(AuditEntry).where(AuditEntry.action == "change_email")).one()
    assert (deed.actor, json.loads(deed.before), json.loads(deed.after)) == (OLD, {"email": OLD}, {"email": NEW})


def test_it_needs_a_fresh_proof_and_another_address(world: World, trader: Trader) -> None:
    assert trader.call("POST", "/auth/change-email", 422, {"email": "Trader@example.com"})["code"] == "invalid_input"
    world.clock.advance(minutes=10)
    assert trader.call("POST", "/auth/change-email", 403, {"email": NEW})["code"] == "step_up_required"


def test_whoever_a_mistyped_address_belongs_to_gains_nothing(world: World, trader: Trader) -> None:
    token = ask(world, trader)
    stranger = world.trader("stranger@example.com")
    assert stranger.call("POST", "/auth/confirm-email", 400, {"token": token})["code"] == "link_spent"
    assert browser(world.farm).post(f"{AUTH}/confirm-email", json={"token": token}).status_code == 401
    trader.call("POST", "/auth/confirm-email", 200, {"token": token})


def test_the_link_ends_after_a_day_and_with_the_next_wish(world: World, trader: Trader) -> None:
    first = ask(world, trader)
    second = ask(world, trader, "other@example.com")
    assert trader.call("POST", "/auth/confirm-email", 400, {"token": first})["code"] == "link_spent"
    world.clock.advance(days=1)
    assert trader.call("POST", "/auth/confirm-email", 400, {"token": second})["code"] == "link_spent"


def test_an_address_in_use_is_told_to_its_owner_only(world: World, trader: Trader) -> None:
    other = world.trader("other@example.com")
    answers = [trader.call("POST", "/auth/change-email", 202, {"email": each}) for each in (other.email, NEW)]
    assert [each.keys() for each in answers] == [{"recipient"}] * 2
    text = mail_to(world.farm, other.email)
    assert "which has one already" in text
    assert "#" not in text


def test_an_address_taken_in_between_is_not_given_twice(world: World, trader: Trader) -> None:
    token = ask(world, trader)
    world.trader(NEW)
    assert trader.call("POST", "/auth/confirm-email", 400, {"token": token})["code"] == "link_spent"


def test_links_for_a_new_password_that_went_to_the_old_address_end(world: World, trader: Trader) -> None:
    browser(world.farm).post(f"{AUTH}/request-reset", json={"email": OLD})
    reset = link_in(mail_to(world.farm, OLD))
    trader.call("POST", "/auth/confirm-email", 200, {"token": ask(world, trader)})
    body = {"token": reset, "password": "another four good words"}
    assert browser(world.farm).post(f"{AUTH}/reset-password", json=body).json()["code"] == "link_spent"


class TestUndo:
    def test_gives_the_address_back_and_lets_nobody_in(self, world: World, trader: Trader) -> None:
        key = trader.call("POST", "/auth/api-keys", 201, {"name": "k", "scopes": ["read"]})["key"]
        trader.call("POST", "/auth/confirm-email", 200, {"token": ask(world, trader)})
        link = undo_link(world)
        http = browser(world.farm)
        assert http.post(f"{AUTH}/undo-email-change", json={"token": link}).status_code == 204
        trader.call("GET", "/me", 401)
        program = browser(world.farm, Authorization=f"Bearer {key}")
        assert program.get("/api/v1/me").status_code == 401
        assert (sign_in(world, OLD), sign_in(world, NEW)) == (401, 401)  # the password is void: a thief may know it
        assert http.post(f"{AUTH}/undo-email-change", json={"token": link}).json()["code"] == "link_spent"

    def test_sends_a_link_for_a_new_password_to_the_old_address(self, world: World, trader: Trader) -> None:
        trader.call("POST", "/auth/confirm-email", 200, {"token": ask(world, trader)})
        browser(world.farm).post(f"{AUTH}/undo-email-change", json={"token": undo_link(world)})
        mail_to(world.farm, OLD)
        assert world.farm.recorded_post is not None
        texts = [each.text for each in world.farm.recorded_post.newest(100) if each.recipient == OLD]
        token = link_in(next(each for each in texts if "reset-password" in each))
        body = {"token": token, "password": "another four good words"}
        assert browser(world.farm).post(f"{AUTH}/reset-password", json=body).status_code == 204
        assert sign_in(world, OLD, "another four good words") == 200

    def test_also_helps_after_a_second_change(self, world: World, trader: Trader) -> None:
        trader.call("POST", "/auth/confirm-email", 200, {"token": ask(world, trader)})
        link = undo_link(world)
        trader.call("POST", "/auth/confirm-email", 200, {"token": ask(world, trader, "third@example.com")})
        assert browser(world.farm).post(f"{AUTH}/undo-email-change", json={"token": link}).status_code == 204
        with world.farm.database.read_as_system() as session:
            assert world.farm.identity.require_user(session, OLD).id == trader.user["id"]

    def test_ends_after_a_week(self, world: World, trader: Trader) -> None:
        trader.call("POST", "/auth/confirm-email", 200, {"token": ask(world, trader)})
        link = undo_link(world)
        world.clock.advance(days=7)
        refused = browser(world.farm).post(f"{AUTH}/undo-email-change", json={"token": link})
        assert refused.json()["code"] == "link_spent"

    def test_is_refused_when_somebody_else_has_the_address_by_now(self, world: World, trader: Trader) -> None:
        trader.call("POST", "/auth/confirm-email", 200, {"token": ask(world, trader)})
        link = undo_link(world)
        world.trader(OLD)
        refused = browser(world.farm).post(f"{AUTH}/undo-email-change", json={"token": link})
        assert refused.json()["code"] == "email_taken"
