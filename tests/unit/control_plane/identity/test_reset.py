"""A new password by mail: it replaces the password and never the second factor."""

from __future__ import annotations

import pytest

from tests.unit.control_plane.world import PASSWORD, Trader, World, browser, link_in, mail_to

pytestmark = pytest.mark.both_databases

REQUEST, RESET, SIGN_IN = (f"/api/v1/auth/{name}" for name in ("request-reset", "reset-password", "sign-in"))
NEW = "another four good words"


def request(world: World, email: str = "trader@example.com") -> str:
    assert browser(world.farm).post(REQUEST, json={"email": email}).status_code == 202
    return link_in(mail_to(world.farm, email))


def reset(world: World, token: str, code: str | None = None, password: str = NEW) -> tuple[int, str]:
    body = {"token": token, "password": password} | ({} if code is None else {"code": code})
    response = browser(world.farm).post(RESET, json=body)
    return response.status_code, response.json()["code"] if response.content else ""


def sign_in(world: World, password: str) -> int:
    body = {"email": "trader@example.com", "password": password}
    return browser(world.farm).post(SIGN_IN, json=body).status_code


def test_the_link_sets_a_password_and_ends_all_sessions(world: World, trader: Trader) -> None:
    assert reset(world, request(world)) == (204, "")
    trader.call("GET", "/me", 401)
    assert (sign_in(world, PASSWORD), sign_in(world, NEW)) == (401, 200)


def test_it_revokes_the_keys_for_programs(world: World, trader: Trader) -> None:
    key = trader.call("POST", "/auth/api-keys", 201, {"name": "Script", "scopes": ["read"]})["key"]
    program = browser(world.farm, Authorization=f"Bearer {key}", Origin="")
    assert program.get("/api/v1/accounts").status_code == 200
    assert reset(world, request(world)) == (204, "")
    assert program.get("/api/v1/accounts").status_code == 401


def test_all_links_end_with_the_first_that_is_used(world: World, trader: Trader) -> None:
    first, second = request(world), request(world)
    assert reset(world, first) == (204, "")
    assert [reset(world, each) for each in (first, second)] == [(400, "link_spent")] * 2


def test_an_older_link_works_while_none_was_used(world: World, trader: Trader) -> None:
    first, _ = request(world), request(world)
    assert reset(world, first) == (204, "")


def test_a_link_works_for_an_hour_and_not_for_a_sign_up(world: World, trader: Trader) -> None:
    token = request(world)
    response = browser(world.farm).post("/api/v1/auth/verify-email", json={"token": token, "password": PASSWORD})
    assert response.json()["code"] == "link_spent"
    world.clock.advance(hours=1)
    assert reset(world, token) == (400, "link_spent")


def test_a_guessable_password_spends_nothing(world: World, trader: Trader) -> None:
    token = request(world)
    assert reset(world, token, password="password1") == (422, "password_guessable")
    assert reset(world, token) == (204, "")


def test_it_never_skips_the_second_factor(world: World, trader: Trader) -> None:
    codes = trader.enrol_second_factor()
    world.clock.advance(seconds=30)
    token = request(world)
    assert reset(world, token) == (401, "second_factor_required")
    assert reset(world, token, "000000") == (401, "bad_code")
    assert sign_in(world, PASSWORD) == 401  # the old one is right and is asked for a code
    assert reset(world, token, codes[0]) == (204, "")
    body = {"email": "trader@example.com", "password": NEW}
    assert browser(world.farm).post(SIGN_IN, json=body).json()["code"] == "second_factor_required"


def test_codes_cannot_be_guessed_with_ever_new_links(world: World, trader: Trader) -> None:
    trader.enrol_second_factor()
    first, second = request(world), request(world)
    assert [reset(world, first, "000000")[0] for _ in range(5)] == [401] * 5
    assert reset(world, second, "000000")[0] == 429


def test_an_address_without_a_user_is_answered_alike_and_gets_no_mail(world: World, trader: Trader) -> None:
    http = browser(world.farm)
    known, unknown = (http.post(REQUEST, json={"email": f"{name}@example.com"}) for name in ("trader", "nobody"))
    assert (known.status_code, unknown.status_code) == (202, 202)
    assert known.headers.keys() == unknown.headers.keys()
    with pytest.raises(StopIteration):
        mail_to(world.farm, "nobody@example.com")


def test_the_owner_signs_in_after_it_whoever_else_is_guessing(world: World, trader: Trader) -> None:
    stranger = browser(world.farm)
    wrong = {"email": "trader@example.com", "password": "guess"}
    for _ in range(6):
        stranger.post(SIGN_IN, json=wrong)
    assert sign_in(world, PASSWORD) == 429
    owner = browser(world.farm)
    owner.post(RESET, json={"token": request(world), "password": NEW})
    assert owner.post(SIGN_IN, json={**wrong, "password": NEW}).status_code == 200
