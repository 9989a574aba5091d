"""Signing in and out, and what slows guessing down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import FarmError, TooManyRequestsError
from control_plane.identity.attempts import password_lanes
from control_plane.identity.model import AttemptLane, KnownDevice, User, UserSession
from control_plane.identity.sessions import Browser
from control_plane.identity.state import CODE_PACE, MAIL_PACE, PASSWORD_PACE, Pace, counted, wait_after
from tests.unit.control_plane.world import PASSWORD, START, Trader, World, browser

pytestmark = pytest.mark.both_databases

SIGN_IN = "/api/v1/auth/sign-in"
RIGHT = {"email": "trader@example.com", "password": PASSWORD}
WRONG = {"email": "trader@example.com", "password": "guess"}
PACES = st.sampled_from([PASSWORD_PACE, CODE_PACE, MAIL_PACE])


def fail(http: httpx.Client, times: int) -> None:
    for _ in range(times):
        assert http.post(SIGN_IN, json=WRONG).status_code == 401


def test_a_new_user_is_a_trader_of_the_operator(trader: Trader) -> None:
    assert trader.user["role"] == "trader"
    assert trader.call("GET", "/me") == trader.user


def test_the_address_is_the_same_in_any_case(world: World, trader: Trader) -> None:
    body = {"email": "Trader@Example.com", "password": PASSWORD}
    assert browser(world.farm).post(SIGN_IN, json=body).json()["id"] == trader.user["id"]


def test_signing_out_ends_the_session_at_the_server(world: World, trader: Trader) -> None:
    stolen = trader.http.cookies["mt5farm_session"]
    trader.call("POST", "/auth/sign-out", 204)
    http = browser(world.farm)
    http.cookies.set("mt5farm_session", stolen)
    assert http.get("/api/v1/me").status_code == 401


def test_a_session_ends_after_two_weeks(world: World, trader: Trader) -> None:
    world.clock.advance(days=14, seconds=1)
    trader.call("GET", "/me", 401)


def test_only_hashes_are_kept(world: World, trader: Trader) -> None:
    secrets = [trader.http.cookies["mt5farm_session"], trader.http.cookies["mt5farm_device"]]
    with world.farm.database.read_as_system() as session:
        assert session.query(User).one().password_hash.startswith("$argon2id$")
        kept = [session.query(UserSession).one().secret_hash, session.query(KnownDevice).one().secret_hash]
    assert not set(secrets) & set(kept)
    for file in world.data.glob("farm.sqlite3*"):
        content = file.read_bytes()
        assert not any(each.encode() in content for each in [*secrets, PASSWORD])


def test_a_wrong_address_and_a_wrong_password_look_the_same(world: World, trader: Trader) -> None:
    http = browser(world.farm)
    nobody = http.post(SIGN_IN, json={"email": "nobody@example.com", "password": PASSWORD})
    wrong = http.post(SIGN_IN, json=WRONG)
    assert nobody.status_code == wrong.status_code == 401
    assert nobody.json() == wrong.json()
    assert nobody.headers.keys() == wrong.headers.keys()


def test_a_wrong_address_costs_as_much_as_a_wrong_password(
    world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = world.farm.identity._passwords._hasher
    cheaper: list[bool] = []

    def verify(self: PasswordHasher, password_hash: str, _password: str) -> bool:
        cheaper.append(self.check_needs_rehash(password_hash))
        raise VerifyMismatchError

    monkeypatch.setattr(type(hasher), "verify", verify)
    http = browser(world.farm)
    for body in ({"email": "nobody@example.com", "password": "x"}, WRONG):
        assert http.post(SIGN_IN, json=body).status_code == 401
    assert cheaper == [False, False]


def test_guessing_has_to_wait_longer_and_longer(world: World, trader: Trader) -> None:
    http = browser(world.farm)
    fail(http, 5)
    waiting = http.post(SIGN_IN, json=RIGHT)
    assert (waiting.status_code, waiting.headers["retry-after"]) == (429, "1")
    world.clock.advance(seconds=1)
    fail(http, 1)
    assert http.post(SIGN_IN, json=RIGHT).headers["retry-after"] == "2"
    world.clock.advance(seconds=2)
    assert http.post(SIGN_IN, json=RIGHT).status_code == 200


def test_an_address_without_a_user_is_slowed_down_alike(world: World, trader: Trader) -> None:
    http = browser(world.farm)
    for _ in range(5):
        http.post(SIGN_IN, json={"email": "nobody@example.com", "password": "x"})
    assert http.post(SIGN_IN, json={"email": "nobody@example.com", "password": "x"}).status_code == 429


def test_whoever_guesses_never_keeps_the_owner_out(world: World, trader: Trader) -> None:
    stranger = browser(world.farm)
    fail(stranger, 5)
    assert stranger.post(SIGN_IN, json=RIGHT).status_code == 429
    trader.call("POST", "/auth/sign-out", 204)
    trader.call("POST", "/auth/sign-in", 200, RIGHT)


def test_a_known_device_may_not_guess_without_end_either(trader: Trader) -> None:
    fail(trader.http, 5)
    assert trader.http.post(SIGN_IN, json=RIGHT).status_code == 429


def test_a_device_is_known_for_its_own_user_only(world: World, trader: Trader) -> None:
    stranger = world.trader("stranger@example.com")
    fail(stranger.http, 5)
    assert stranger.http.post(SIGN_IN, json=RIGHT).status_code == 429
    trader.call("POST", "/auth/sign-in", 200, RIGHT)


def test_one_address_may_not_try_many_users(world: World) -> None:
    lanes = [password_lanes(f"{number}@example.com", None, "203.0.113.7") for number in range(31)]
    for lane in lanes[:30]:
        with world.farm.database.write_as_system() as session:
            world.farm.identity._attempts.begin(session, lane)
    with pytest.raises(TooManyRequestsError), world.farm.database.write_as_system() as session:
        world.farm.identity._attempts.begin(session, lanes[30])


def test_one_customer_of_a_provider_is_one_address() -> None:
    first, second, other = (
        password_lanes("a@example.com", None, each)[1].name for each in ("2001:db8::1", "2001:db8::ffff", "2001:db9::1")
    )
    assert first == second != other


def test_a_right_sign_in_takes_back_ones_own_failures_only(world: World, trader: Trader) -> None:
    attempts, lanes = world.farm.identity._attempts, password_lanes("a@example.com", None, "203.0.113.7")
    for count in range(4):
        with world.farm.database.write_as_system() as session:
            attempts.begin(session, password_lanes(f"{count}@example.com", None, "203.0.113.7"))
    with world.farm.database.write_as_system() as session:
        attempts.begin(session, lanes)
        attempts.forgive(session, lanes)
    with world.farm.database.read_as_system() as session:
        rows = [session.get(AttemptLane, lane.lane_hash) for lane in lanes]
    assert [row and row.failures for row in rows] == [None, 4]


def test_attempts_at_the_same_time_gain_nothing(world: World, trader: Trader) -> None:
    def attempt(number: int) -> str:
        with pytest.raises(FarmError) as refused:
            world.farm.identity.sign_in("trader@example.com", f"guess {number}", Browser())
        return refused.value.code

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(attempt, range(12)))
    assert sorted(answers) == ["bad_sign_in"] * 5 + ["too_many_attempts"] * 7


def test_a_password_changed_meanwhile_opens_nothing(
    world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = world.farm.identity._passwords
    verify = passwords.verify

    def slow(password_hash: str | None, password: str) -> bool:
        right = verify(password_hash, password)
        with world.farm.database.write_as_system() as session:
            session.query(User).one().password_hash = "another"
        return right

    monkeypatch.setattr(passwords, "verify", slow)
    assert browser(world.farm).post(SIGN_IN, json=RIGHT).json()["code"] == "bad_sign_in"


def test_a_user_has_ten_known_devices_at_most(world: World, trader: Trader) -> None:
    with world.farm.database.write_as_system() as session:
        user = session.query(User).one()
        for _ in range(12):
            world.clock.advance(seconds=1)
            world.farm.sessions.remember(session, user, Browser())
        assert session.query(KnownDevice).count() == 10


@given(PACES, st.integers(0, 10**6))
def test_each_failure_makes_the_wait_longer_up_to_a_bound(pace: Pace, failures: int) -> None:
    shorter, longer = (wait_after(pace, count, START, START) for count in (failures, failures + 1))
    assert timedelta(0) <= shorter <= longer <= pace.longest
    assert (shorter > timedelta(0)) == (failures >= pace.free)
    assert wait_after(pace, failures, START, START + shorter) == timedelta(0)


@given(PACES, st.integers(1, 100), st.floats(0, 3))
def test_failures_are_forgotten_after_a_while_and_never_before_the_wait_is_over(
    pace: Pace, failures: int, ages: float
) -> None:
    now = START + ages * pace.forgotten_after
    assert counted(pace, failures, START, now) == (failures if ages < 1 else 0)
    assert pace.longest < pace.forgotten_after
