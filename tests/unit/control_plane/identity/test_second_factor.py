"""The second factor: enrolled with a code, asked for at each sign-in, needed by staff and for live accounts."""

from __future__ import annotations

from datetime import UTC, datetime

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.brokers.service import add_server
from control_plane.identity import totp
from control_plane.identity.model import RecoveryCode, TotpDevice, User, UserSession
from control_plane.identity.state import STAFF_ROLES, Role
from control_plane.vault.sealing import SealBrokenError
from tests.unit.control_plane.world import PASSWORD, Trader, World, browser

pytestmark = pytest.mark.both_databases

LIVE = "Real-Live"
SIGN_IN = "/api/v1/auth/sign-in"
RIGHT = {"email": "trader@example.com", "password": PASSWORD}


def sign_in(world: World, code: str | None = None, password: str = PASSWORD) -> tuple[int, str]:
    body = {"email": "trader@example.com", "password": password} | ({} if code is None else {"code": code})
    response = browser(world.farm).post(SIGN_IN, json=body)
    return response.status_code, response.json().get("code", "")


@pytest.fixture
def codes(world: World, trader: Trader) -> list[str]:
    """Recovery codes of a trader who has just enrolled; their app then shows another code."""
    found = trader.enrol_second_factor()
    world.clock.advance(seconds=30)
    return found


@pytest.fixture
def live(world: World) -> None:
    with world.farm.database.write_as_system() as session:
        add_server(session, world.clock, LIVE, "Real Broker", None)


class TestEnrolment:
    def test_counts_once_a_code_was_shown(self, world: World, trader: Trader) -> None:
        begun = trader.call("POST", "/auth/second-factor/totp", 201)
        assert begun["secret"] in begun["uri"]
        assert begun["picture"].startswith("data:image/svg+xml")
        assert trader.call("POST", "/auth/second-factor/totp/confirm", 401, {"code": "000000"})["code"] == "bad_code"
        assert trader.call("GET", "/auth/second-factor")["enrolled"] is False
        assert sign_in(world) == (200, "")

    def test_ends_the_other_sessions_and_tells_the_user(self, world: World, trader: Trader) -> None:
        elsewhere = browser(world.farm)
        elsewhere.post(SIGN_IN, json=RIGHT)
        trader.enrol_second_factor()
        assert elsewhere.get("/api/v1/me").status_code == 401
        assert trader.call("GET", "/me")["second_factor"] is True
        assert trader.call("GET", "/auth/second-factor")["recovery_codes_left"] == 10

    def test_a_new_app_replaces_the_old_one_once_it_is_confirmed(
        self, world: World, trader: Trader, codes: list[str]
    ) -> None:
        old = trader.code()
        secret = trader.call("POST", "/auth/second-factor/totp", 201)["secret"]
        assert sign_in(world, old) == (200, "")
        world.clock.advance(seconds=30)
        trader.call("POST", "/auth/second-factor/totp/confirm", 200, {"code": pyotp.TOTP(secret).at(world.clock.now())})
        assert sign_in(world, trader.code()) == (401, "bad_code")
        assert sign_in(world, codes[0]) == (401, "bad_code")

    def test_the_secret_is_sealed_for_its_row(self, world: World, trader: Trader, codes: list[str]) -> None:
        other = world.trader("other@example.com")
        other.enrol_second_factor()
        with world.farm.database.write_as_system() as session:
            mine, theirs = session.query(TotpDevice).order_by(TotpDevice.id)
            mine.sealed_secret = theirs.sealed_secret
        with pytest.raises(SealBrokenError), world.farm.database.write_as_system() as session:
            world.farm.second_factors.check(session, trader.user["id"], other.code())

    def test_needs_a_beginning_and_a_fresh_proof(self, world: World, trader: Trader) -> None:
        assert (
            trader.call("POST", "/auth/second-factor/totp/confirm", 409, {"code": "000000"})["code"] == "no_enrolment"
        )
        world.clock.advance(minutes=10)
        assert trader.call("POST", "/auth/second-factor/totp", 403)["code"] == "step_up_required"


class TestSignIn:
    def test_asks_for_a_code_once_the_password_is_right(self, world: World, trader: Trader, codes: list[str]) -> None:
        assert sign_in(world, password="wrong") == (401, "bad_sign_in")
        assert sign_in(world) == (401, "second_factor_required")
        assert sign_in(world, "000000") == (401, "bad_code")
        assert sign_in(world, trader.code()) == (200, "")

    def test_a_code_works_once(self, world: World, trader: Trader, codes: list[str]) -> None:
        code = trader.code()
        assert sign_in(world, code) == (200, "")
        assert sign_in(world, code) == (401, "bad_code")

    def test_a_recovery_code_works_once_however_it_is_typed(
        self, world: World, trader: Trader, codes: list[str]
    ) -> None:
        assert sign_in(world, codes[3].upper().replace("-", " ")) == (200, "")
        assert sign_in(world, codes[3]) == (401, "bad_code")
        assert trader.call("GET", "/auth/second-factor")["recovery_codes_left"] == 9

    def test_codes_cannot_be_guessed_without_end(self, world: World, trader: Trader, codes: list[str]) -> None:
        assert [sign_in(world, "000000")[0] for _ in range(6)] == [401] * 5 + [429]
        world.clock.advance(hours=2)
        assert sign_in(world, "000000")[0] == 401
        assert sign_in(world, trader.code())[0] == 429  # it still counts, hours later
        assert trader.http.post(SIGN_IN, json={**RIGHT, "code": trader.code()}).status_code == 200  # not for the owner

    def test_nobody_elses_code_helps(self, world: World, trader: Trader, codes: list[str]) -> None:
        other = world.trader("other@example.com")
        foreign = other.enrol_second_factor()
        assert sign_in(world, other.code()) == (401, "bad_code")
        assert sign_in(world, foreign[0]) == (401, "bad_code")

    def test_recovery_codes_are_kept_as_hashes(self, world: World, codes: list[str]) -> None:
        with world.farm.database.read_as_system() as session:
            kept = {each.code_hash for each in session.query(RecoveryCode)}
        assert kept == {totp.recovery_hash(each) for each in codes}
        for file in world.data.glob("farm.sqlite3*"):
            assert not any(each.encode() in file.read_bytes() for each in codes)


class TestStepUp:
    def test_lasts_ten_minutes(self, world: World, trader: Trader, codes: list[str]) -> None:
        trader.call("POST", "/auth/second-factor/recovery-codes")
        world.clock.advance(minutes=10)
        assert trader.call("POST", "/auth/second-factor/recovery-codes", 403)["code"] == "step_up_required"
        trader.call("POST", "/auth/step-up", 204, {"code": trader.code()})
        renewed = trader.call("POST", "/auth/second-factor/recovery-codes")["codes"]
        assert sign_in(world, codes[0]) == (401, "bad_code")
        assert sign_in(world, renewed[0]) == (200, "")

    def test_takes_the_code_where_there_is_one_and_the_password_where_there_is_none(
        self, world: World, trader: Trader
    ) -> None:
        trader.call("POST", "/auth/step-up", 204, {"password": PASSWORD})
        assert trader.call("POST", "/auth/step-up", 401, {"password": "guess"})["code"] == "bad_password"
        trader.enrol_second_factor()
        refused = trader.call("POST", "/auth/step-up", 401, {"password": PASSWORD})
        assert refused["code"] == "second_factor_required"

    def test_a_wrong_code_proves_nothing(self, world: World, trader: Trader, codes: list[str]) -> None:
        world.clock.advance(minutes=10)
        trader.call("POST", "/auth/step-up", 401, {"code": "000000"})
        trader.call("POST", "/auth/second-factor/recovery-codes", 403)


class TestStaff:
    @pytest.mark.parametrize("role", sorted(STAFF_ROLES))
    def test_does_nothing_without_one(self, world: World, trader: Trader, role: Role) -> None:
        with world.farm.database.write_as_system() as session:
            world.farm.identity.set_role(session, "trader@example.com", role)
        assert trader.call("GET", "/accounts", 403)["code"] == "second_factor_required"
        nodes = trader.call("GET", "/nodes", 403)["code"]
        assert nodes == ("second_factor_required" if role in {Role.OPS, Role.OWNER} else "role_required")
        assert trader.call("GET", "/me")["second_factor_missing"] is True
        trader.enrol_second_factor()
        trader.call("GET", "/accounts")

    def test_a_session_that_began_without_one_has_to_show_it(self, world: World, trader: Trader) -> None:
        trader.enrol_second_factor()
        with world.farm.database.write_as_system() as session:
            world.farm.identity.set_role(session, "trader@example.com", Role.OPS)
            session.query(UserSession).one().second_factor_at = None
        assert trader.call("GET", "/nodes", 403)["code"] == "step_up_required"
        world.clock.advance(seconds=30)
        trader.call("POST", "/auth/step-up", 204, {"code": trader.code()})
        trader.call("GET", "/nodes")

    def test_cannot_take_it_away(self, world: World) -> None:
        ops = world.operator()
        assert ops.call("DELETE", "/auth/second-factor", 409)["code"] == "second_factor_needed"


@pytest.mark.usefixtures("live")
class TestLiveAccounts:
    def test_need_one_before_a_password_is_stored(self, world: World, trader: Trader) -> None:
        body = {"label": "Main", "login": 5001, "password": "broker-secret", "server": LIVE}
        assert trader.call("POST", "/accounts", 403, body)["code"] == "second_factor_required"
        assert trader.call("GET", "/accounts")["items"] == []
        trader.enrol_second_factor()
        account = trader.call("POST", "/accounts", 201, body)["id"]
        assert trader.call("DELETE", "/auth/second-factor", 409)["code"] == "second_factor_needed"
        world.clock.advance(minutes=10)
        new = {"password": "another"}
        assert trader.call("PUT", f"/accounts/{account}/credentials", 403, new)["code"] == "step_up_required"
        trader.call("POST", "/auth/step-up", 204, {"code": trader.code()})
        trader.call("PUT", f"/accounts/{account}/credentials", 202, new)

    def test_simulated_ones_need_none(self, world: World, trader: Trader) -> None:
        world.clock.advance(hours=1)
        account = trader.connect()["id"]
        trader.call("PUT", f"/accounts/{account}/credentials", 202, {"password": "another"})


def test_it_can_be_taken_away_with_a_fresh_proof(world: World, trader: Trader, codes: list[str]) -> None:
    trader.call("DELETE", "/auth/second-factor", 204)
    assert sign_in(world) == (200, "")
    assert sign_in(world, codes[0]) == (200, "")  # not looked at any more


@given(st.integers(1_000, 2**33), st.integers(-3, 3))
def test_a_code_is_right_within_one_step_of_the_clock_and_once(moment: int, steps: int) -> None:
    secret, shown_at = totp.new_secret(), moment + steps * totp.STEP_SECONDS
    code, now = pyotp.TOTP(secret).at(shown_at), datetime.fromtimestamp(moment, UTC)
    step = totp.matching_step(secret, code, now, after=0)
    if abs(steps) <= 1:
        assert step is not None
        assert totp.matching_step(secret, code, now, after=moment) is None
    assert totp.matching_step(secret, f"{code}0", now, after=0) is None


def test_an_authenticator_app_gets_what_rfc_6238_says() -> None:
    """Appendix B, SHA-1, the last six of the eight digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert totp.matching_step(secret, code, datetime.fromtimestamp(seconds, UTC), 0) == seconds // 30


def test_recovery_codes_are_all_different_and_easy_to_read() -> None:
    codes = [each for _ in range(100) for each in totp.new_recovery_codes()]
    assert len(set(codes)) == 1000
    assert not set("".join(codes)) & set("01ilo")


def test_users_that_are_gone_have_none(world: World) -> None:
    with world.farm.database.read_as_system() as session:
        assert session.query(User).count() == 0
        assert world.farm.second_factors.is_enrolled(session, "usr_x") is False
