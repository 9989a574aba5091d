"""Sessions are seen and ended by their user; passwords are changed by their owner."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.audit.model import AuditEntry
from tests.unit.control_plane.world import PASSWORD, Trader, World, browser, mail_to

pytestmark = pytest.mark.both_databases

SIGN_IN = "/api/v1/auth/sign-in"
RIGHT = {"email": "trader@example.com", "password": PASSWORD}
NEW = "another four good words"


def elsewhere(world: World) -> Any:
    http = browser(world.farm, **{"User-Agent": "Phone/1"})
    http.post(SIGN_IN, json=RIGHT).raise_for_status()
    return http


def test_all_of_them_are_shown_with_where_they_are(world: World, trader: Trader) -> None:
    world.clock.advance(minutes=1)
    elsewhere(world)
    phone, mine = trader.call("GET", "/auth/sessions")["items"]
    assert (mine["current"], phone["current"]) == (True, False)
    assert (phone["user_agent"], phone["address"], phone["second_factor"]) == ("Phone/1", "127.0.0.1", False)
    assert "secret" not in str(phone)


def test_one_can_be_ended_at_once(world: World, trader: Trader) -> None:
    http = elsewhere(world)
    phone = next(each for each in trader.call("GET", "/auth/sessions")["items"] if not each["current"])
    trader.call("DELETE", f"/auth/sessions/{phone['id']}", 204)
    assert http.get("/api/v1/me").status_code == 401
    assert trader.call("DELETE", f"/auth/sessions/{phone['id']}", 404)["code"] == "session_not_found"


def test_all_others_can_be_ended_at_once(world: World, trader: Trader) -> None:
    http = elsewhere(world)
    trader.call("POST", "/auth/sessions/end-others", 204)
    assert http.get("/api/v1/me").status_code == 401
    assert len(trader.call("GET", "/auth/sessions")["items"]) == 1


def test_foreign_ones_are_neither_seen_nor_ended(world: World, trader: Trader) -> None:
    other = world.trader("other@example.com")
    mine = trader.call("GET", "/auth/sessions")["items"][0]["id"]
    assert mine not in str(other.call("GET", "/auth/sessions"))
    other.call("DELETE", f"/auth/sessions/{mine}", 404)
    other.call("POST", "/auth/sessions/end-others", 204)
    trader.call("GET", "/me")


def test_they_tell_when_they_were_used_to_five_minutes(world: World, trader: Trader) -> None:
    seen = []
    for minutes in (4, 1, 4):
        world.clock.advance(minutes=minutes)
        trader.call("GET", "/me")
        seen.append(trader.call("GET", "/auth/sessions")["items"][0]["last_seen_at"])
    assert seen[0] < seen[1] == seen[2]


def test_a_new_password_ends_the_other_sessions(world: World, trader: Trader) -> None:
    http = elsewhere(world)
    change = {"password": PASSWORD, "new_password": NEW}
    assert trader.call("POST", "/auth/change-password", 401, {**change, "password": "x"})["code"] == "bad_password"
    weak = trader.call("POST", "/auth/change-password", 422, {**change, "new_password": "password1"})
    assert [each["field"] for each in weak["errors"]] == ["new_password"]
    trader.call("POST", "/auth/change-password", 204, change)
    assert http.get("/api/v1/me").status_code == 401
    trader.call("GET", "/me")
    assert browser(world.farm).post(SIGN_IN, json=RIGHT).status_code == 401
    assert browser(world.farm).post(SIGN_IN, json={**RIGHT, "password": NEW}).status_code == 200


def test_a_new_password_takes_the_second_factor_where_there_is_one(world: World, trader: Trader) -> None:
    trader.enrol_second_factor()
    world.clock.advance(minutes=10)
    change = {"password": PASSWORD, "new_password": NEW}
    assert trader.call("POST", "/auth/change-password", 403, change)["code"] == "step_up_required"


def test_that_a_session_was_ended_is_written_down(world: World, trader: Trader) -> None:
    trader.call("POST", "/auth/sessions/end-others", 204)
    trader.call("POST", "/auth/sign-out", 204)
    trader.call("POST", "/auth/sign-out", 204)
    trader.call("POST", "/auth/sign-in", 200, RIGHT)
    trader.call("POST", "/auth/sign-out-everywhere", 204)
    with world.farm.database.read_as_system() as session:
        actions = [entry.action for entry in session.query(AuditEntry).order_by(AuditEntry.seq)]
    assert actions == ["end_other_sessions", "end_session", "end_all_sessions"]


def test_what_changes_the_sign_in_is_written_down_and_told_to_its_owner(world: World, trader: Trader) -> None:
    trader.call("POST", "/auth/change-password", 204, {"password": PASSWORD, "new_password": NEW})
    with world.farm.database.read_as_system() as session:
        entry = session.query(AuditEntry).one()
    assert (entry.actor, entry.action, entry.subject_id) == ("trader@example.com", "change_password", trader.user["id"])
    assert "was changed" in mail_to(world.farm, "trader@example.com")


def test_a_session_that_is_not_used_ends(world: World, trader: Trader) -> None:
    world.clock.advance(hours=72)
    trader.call("GET", "/me", 401)


def test_a_session_that_is_used_goes_on_until_it_is_two_weeks_old(world: World, trader: Trader) -> None:
    for _ in range(5):
        world.clock.advance(hours=56)
        assert trader.call("GET", "/me")["id"] == trader.user["id"]
        shown = trader.call("GET", "/auth/sessions")["items"][0]
        assert shown["expires_at"] > world.clock.now().isoformat()
    world.clock.advance(hours=56)
    trader.call("GET", "/me", 401)


def test_an_idle_session_is_not_shown(world: World, trader: Trader) -> None:
    browser(world.farm).post("/api/v1/auth/sign-in", json={"email": trader.email, "password": PASSWORD})
    world.clock.advance(hours=71)
    trader.call("GET", "/me")
    world.clock.advance(hours=1)
    assert len(trader.call("GET", "/auth/sessions")["items"]) == 1
