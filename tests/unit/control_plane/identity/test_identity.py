"""Signing up, in and out."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from control_plane.identity.model import User, UserSession
from control_plane.identity.state import sign_in_wait
from tests.unit.control_plane.world import START, Trader, World, browser

SIGN_IN = "/api/v1/auth/sign-in"


def test_a_new_user_is_a_trader_of_the_operator(trader: Trader) -> None:
    assert trader.user["role"] == "trader"
    assert trader.call("GET", "/me") == trader.user


def test_the_address_is_the_same_in_any_case(world: World, trader: Trader) -> None:
    body = {"email": "Trader@Example.com", "password": "correct horse battery"}
    assert browser(world.farm).post(SIGN_IN, json=body).json()["id"] == trader.user["id"]


def test_signing_out_ends_the_session_at_the_server(world: World, trader: Trader) -> None:
    stolen = dict(trader.http.cookies)
    trader.call("POST", "/auth/sign-out", 204)
    http = browser(world.farm)
    http.cookies.update(stolen)
    assert http.get("/api/v1/me").status_code == 401


def test_a_session_ends_after_two_weeks(world: World, trader: Trader) -> None:
    world.clock.advance(days=14, seconds=1)
    trader.call("GET", "/me", 401)


def test_only_hashes_are_kept(world: World, trader: Trader) -> None:
    secret = trader.http.cookies["mt5farm_session"]
    with world.farm.database.read_as_system() as session:
        assert session.query(User).one().password_hash.startswith("$argon2id$")
        assert session.query(UserSession).one().secret_hash != secret
    for file in world.data.glob("farm.sqlite3*"):
        content = file.read_bytes()
        assert secret.encode() not in content
        assert b"correct horse battery" not in content


def test_a_wrong_address_and_a_wrong_password_look_the_same(world: World, trader: Trader) -> None:
    http = browser(world.farm)
    nobody = http.post(SIGN_IN, json={"email": "nobody@example.com", "password": "correct horse battery"})
    wrong = http.post(SIGN_IN, json={"email": "trader@example.com", "password": "something else"})
    assert nobody.status_code == wrong.status_code == 401
    assert nobody.json() == wrong.json()


def test_an_address_can_be_used_once(world: World, trader: Trader) -> None:
    body = {"email": "TRADER@example.com", "password": "another secret", "display_name": "X"}
    response = browser(world.farm).post("/api/v1/auth/sign-up", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "sign_up_refused")


def test_guessing_has_to_wait_longer_and_longer(world: World, trader: Trader) -> None:
    http = browser(world.farm)
    wrong = {"email": "trader@example.com", "password": "guess"}
    for _ in range(5):
        assert http.post(SIGN_IN, json=wrong).status_code == 401
    right = {**wrong, "password": "correct horse battery"}
    waiting = http.post(SIGN_IN, json=right)
    assert (waiting.status_code, waiting.headers["retry-after"]) == (429, "1")
    world.clock.advance(seconds=1)
    assert http.post(SIGN_IN, json=right).status_code == 200


@given(st.integers(5, 1000))
def test_each_failure_makes_the_wait_longer_up_to_two_minutes(failures: int) -> None:
    shorter, longer = (sign_in_wait(count, START, START) for count in (failures, failures + 1))
    assert timedelta(seconds=1) <= shorter <= longer <= timedelta(minutes=2)
    assert sign_in_wait(failures, START, START + shorter) == timedelta(0)
