"""Passkeys: added by who has just proved themselves, sign in alone, back a password, step up; and what is refused."""

from __future__ import annotations

import base64
import copy
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from control_plane.brokers.service import add_server
from control_plane.errors import UnauthorisedError
from control_plane.identity.authenticators import challenge_in, registered, went_back
from control_plane.identity.model import Passkey, PasskeyChallenge
from control_plane.identity.relying_party import RelyingParty
from control_plane.identity.state import Role
from tests.authenticator import Authenticator, text
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import PASSWORD, Trader, World, browser, link_in, mail_to

pytestmark = pytest.mark.both_databases

LIVE = "Real-Live"
AUTH = "/api/v1/auth"
RIGHT = {"email": "trader@example.com", "password": PASSWORD}


def add(person: Trader, device: Authenticator, name: str = "Phone", status: int = 201) -> Any:
    options = person.call("POST", "/auth/passkeys/registration-options")["options"]
    return person.call("POST", "/auth/passkeys", status, {"name": name, "credential": device.create(options)})


def sign_in_options(http: httpx.Client) -> dict[str, Any]:
    response = http.post(f"{AUTH}/passkeys/sign-in-options")
    assert response.status_code == 200, response.text
    options: dict[str, Any] = response.json()["options"]
    return options


def show(http: httpx.Client, credential: dict[str, Any]) -> tuple[int, str]:
    """Sign in with an answer alone."""
    response = http.post(f"{AUTH}/passkeys/sign-in", json={"credential": credential})
    return response.status_code, response.json().get("code", "")


REFUSED = (401, "bad_passkey")


@pytest.fixture
def device() -> Authenticator:
    return Authenticator()


@pytest.fixture
def added(trader: Trader, device: Authenticator) -> Any:
    return add(trader, device)


class TestAdding:
    def test_the_first_one_gives_recovery_codes_ends_other_sessions_and_is_told(
        self, world: World, trader: Trader, device: Authenticator
    ) -> None:
        elsewhere = browser(world.farm)
        elsewhere.post(f"{AUTH}/sign-in", json=RIGHT)
        made = add(trader, device, " Phone ")
        assert (made["name"], made["last_used_at"], len(made["recovery_codes"])) == ("Phone", None, 10)
        assert elsewhere.get("/api/v1/me").status_code == 401
        me = trader.call("GET", "/me")
        assert (me["second_factor"], me["passkeys"]) == (True, True)
        assert "A passkey was added" in mail_to(world.farm, trader.email)
        with world.farm.database.read_as_system() as session:
            deed = session.scalars(select(AuditEntry).where(AuditEntry.action == "add_passkey")).one()
        assert '"name":"Phone"' in deed.after.replace(" ", "")

    def test_there_may_be_several_and_each_is_named_and_signs_in(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        second = add(trader, device, "Key")
        assert second["recovery_codes"] is None
        trader.call("PUT", f"/auth/passkeys/{second['id']}", 200, {"name": "Blue key"})
        for credential in device.credentials:
            http = browser(world.farm)
            assert show(http, device.get(sign_in_options(http), credential)) == (200, "")
        shown = trader.call("GET", "/auth/passkeys")["items"]
        assert [each["name"] for each in shown] == ["Phone", "Blue key"]
        assert all(each["last_used_at"] for each in shown)

    def test_an_authenticator_is_told_what_it_has_already(
        self, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        options = trader.call("POST", "/auth/passkeys/registration-options")["options"]
        assert [each["id"] for each in options["excludeCredentials"]] == [text(device.credentials[0].credential_id)]
        assert options["authenticatorSelection"]["userVerification"] == "required"
        assert options["authenticatorSelection"]["residentKey"] == "required"

    def test_needs_a_fresh_proof_at_both_ends(self, world: World, trader: Trader, device: Authenticator) -> None:
        options = trader.call("POST", "/auth/passkeys/registration-options")["options"]
        world.clock.advance(minutes=4)
        trader.call("POST", "/auth/step-up", 204, {"password": PASSWORD})
        world.clock.advance(minutes=10)
        assert trader.call("POST", "/auth/passkeys/registration-options", 403)["code"] == "step_up_required"
        late = {"name": "x", "credential": device.create(options)}
        assert trader.call("POST", "/auth/passkeys", 403, late)["code"] == "step_up_required"

    @pytest.mark.parametrize(
        "wrong",
        [
            Authenticator(origin="https://localhost.evil.example"),
            Authenticator(origin="http://localhost:8081"),
            Authenticator(verifies=False),
        ],
        ids=["another site", "another port", "user not verified"],
    )
    def test_is_refused_from_elsewhere_and_without_the_user(self, trader: Trader, wrong: Authenticator) -> None:
        assert add(trader, wrong, status=401)["code"] == "bad_passkey"
        assert trader.call("GET", "/auth/passkeys")["items"] == []

    def test_a_challenge_is_answered_once_and_soon_and_by_its_own_session(
        self, world: World, trader: Trader, device: Authenticator
    ) -> None:
        other = world.trader("other@example.com")
        options = trader.call("POST", "/auth/passkeys/registration-options")["options"]
        wish = {"name": "x", "credential": device.create(options)}
        assert other.call("POST", "/auth/passkeys", 401, wish)["code"] == "bad_passkey"
        assert trader.call("POST", "/auth/passkeys", 401, wish)["code"] == "bad_passkey"  # spent by the one before
        options = trader.call("POST", "/auth/passkeys/registration-options")["options"]
        world.clock.advance(minutes=5)
        late = {"name": "x", "credential": device.create(options)}
        assert trader.call("POST", "/auth/passkeys", 401, late)["code"] == "bad_passkey"

    def test_one_credential_is_one_persons(self, world: World, trader: Trader, device: Authenticator) -> None:
        """Even over tenants: who sends somebody else's credential with their own key gains nothing."""
        add(trader, device)
        other = world.trader("other@example.com")
        move_user(world, other.user["id"], add_tenant(world, "broker"))
        options = other.call("POST", "/auth/passkeys/registration-options")["options"]
        answer = device.create(options)
        device.credentials[-1].credential_id = device.credentials[0].credential_id
        forged = Authenticator()
        forged_answer = _with_id(forged, options, device.credentials[0].credential_id)
        assert answer["id"] != forged_answer["id"]
        wish = {"name": "x", "credential": forged_answer}
        assert other.call("POST", "/auth/passkeys", 409, wish)["code"] == "passkey_exists"


def _with_id(device: Authenticator, options: dict[str, Any], credential_id: bytes) -> dict[str, Any]:
    """A new credential under an id that somebody else's has."""
    answer = device.create(options)
    made = device.credentials[-1].credential_id
    attestation = answer["response"]["attestationObject"]

    raw = base64.urlsafe_b64decode(attestation + "=" * (-len(attestation) % 4)).replace(made, credential_id)
    shown = text(credential_id)
    return {**answer, "id": shown, "rawId": shown, "response": {**answer["response"], "attestationObject": text(raw)}}


class TestSigningIn:
    def test_alone_it_is_both_factors(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        world.give_role(trader, Role.SUPPORT)
        http = browser(world.farm)
        assert show(http, device.get(sign_in_options(http))) == (200, "")
        assert http.get("/api/v1/members").status_code == 200

    def test_beside_the_password(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        http = browser(world.farm)
        assert http.post(f"{AUTH}/sign-in", json=RIGHT).json()["code"] == "second_factor_required"
        answer = device.get(sign_in_options(http))
        wrong = http.post(f"{AUTH}/sign-in", json={**RIGHT, "password": "guess", "passkey": answer})
        assert wrong.json()["code"] == "bad_sign_in"
        assert http.post(f"{AUTH}/sign-in", json={**RIGHT, "passkey": answer}).status_code == 200

    def test_beside_the_password_it_must_be_of_the_same_user(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        other, theirs = world.trader("other@example.com"), Authenticator()
        add(other, theirs)
        http = browser(world.farm)
        response = http.post(f"{AUTH}/sign-in", json={**RIGHT, "passkey": theirs.get(sign_in_options(http))})
        assert (response.status_code, response.json()["code"]) == REFUSED

    def test_a_recovery_code_stands_in_for_it(self, world: World, trader: Trader, added: Any) -> None:
        body = {**RIGHT, "code": added["recovery_codes"][0]}
        assert browser(world.farm).post(f"{AUTH}/sign-in", json=body).status_code == 200
        assert browser(world.farm).post(f"{AUTH}/sign-in", json=body).json()["code"] == "bad_code"

    def test_a_reset_by_mail_does_not_skip_it(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        http = browser(world.farm)
        http.post(f"{AUTH}/request-reset", json={"email": trader.email})
        body = {"token": link_in(mail_to(world.farm, trader.email)), "password": "another four good words"}
        assert http.post(f"{AUTH}/reset-password", json=body).json()["code"] == "second_factor_required"
        answer = device.get(sign_in_options(http))
        assert http.post(f"{AUTH}/reset-password", json={**body, "passkey": answer}).status_code == 204

    def test_nobody_learns_who_has_one(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        http, stranger = browser(world.farm), Authenticator()
        options = sign_in_options(http)
        assert options["allowCredentials"] == []
        stranger.create({"rp": {"id": "localhost"}, "user": {"id": text(b"usr_x")}, "challenge": "AA"})
        unknown = show(http, stranger.get(options))
        device.credentials[0].key = stranger.credentials[0].key
        forged = show(http, device.get(sign_in_options(http)))
        assert unknown == forged == REFUSED

    def test_an_answer_works_once(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        http = browser(world.farm)
        answer = device.get(sign_in_options(http))
        assert show(http, answer) == (200, "")
        assert show(http, answer) == REFUSED

    def test_an_answer_works_in_the_browser_that_asked_and_soon(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        asked, elsewhere = browser(world.farm), browser(world.farm)
        answer = device.get(sign_in_options(asked))
        sign_in_options(elsewhere)
        assert show(elsewhere, answer) == REFUSED
        assert show(browser(world.farm), device.get(sign_in_options(asked))) == REFUSED  # without the cookie
        options = sign_in_options(asked)
        world.clock.advance(minutes=5)
        assert show(asked, device.get(options)) == REFUSED

    def test_an_answer_to_something_else_does_not_sign_in(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        step_up = trader.call("POST", "/auth/passkeys/step-up-options")["options"]
        assert show(trader.http, device.get(step_up)) == REFUSED

    @pytest.mark.parametrize(
        "change",
        [{"origin": "https://localhost.evil.example"}, {"verifies": False}],
        ids=["another site", "user not verified"],
    )
    def test_is_refused_from_elsewhere_and_without_the_user(
        self, world: World, trader: Trader, device: Authenticator, added: Any, change: dict[str, Any]
    ) -> None:
        http = browser(world.farm)
        for name, value in change.items():
            setattr(device, name, value)
        assert show(http, device.get(sign_in_options(http))) == REFUSED

    def test_one_of_another_domain_is_refused(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        http = browser(world.farm)
        device.credentials[0].domain = "evil.example"
        assert show(http, device.get(sign_in_options(http))) == REFUSED

    def test_it_must_say_whose_it_is(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        http = browser(world.farm)
        answer = device.get(sign_in_options(http))
        del answer["response"]["userHandle"]
        assert show(http, answer) == REFUSED
        device.credentials[0].user_handle = text(b"usr_somebody_else")
        assert show(http, device.get(sign_in_options(http))) == REFUSED

    def test_asking_without_end_has_to_wait(self, world: World, trader: Trader) -> None:
        http = browser(world.farm)
        codes = [http.post(f"{AUTH}/passkeys/sign-in-options").status_code for _ in range(31)]
        assert codes == [200] * 30 + [429]


class TestACopiedPasskey:
    def test_is_refused_suspended_and_told(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        thief = copy.deepcopy(device)
        for _ in range(2):
            http = browser(world.farm)
            assert show(http, device.get(sign_in_options(http))) == (200, "")
        http = browser(world.farm)
        assert show(http, thief.get(sign_in_options(http))) == REFUSED
        assert "somebody may have a copy" in mail_to(world.farm, trader.email)
        assert trader.call("GET", "/auth/passkeys")["items"][0]["suspended_at"] is not None
        http = browser(world.farm)
        assert show(http, device.get(sign_in_options(http))) == REFUSED  # nobody can tell which is the thief's
        with world.farm.database.read_as_system() as session:
            deed = session.scalars(select(AuditEntry).where(AuditEntry.action == "suspend_passkey")).one()
        assert deed.actor == "farm"

    def test_does_not_leave_the_password_alone(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        device.credentials[0].count = -1
        http = browser(world.farm)
        with world.farm.database.write_as_system() as session:
            session.query(Passkey).one().sign_count = 7
        assert show(http, device.get(sign_in_options(http))) == REFUSED
        assert browser(world.farm).post(f"{AUTH}/sign-in", json=RIGHT).json()["code"] == "second_factor_required"

    def test_a_wrong_signature_does_not_suspend_it(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        """Else whoever knows the id of a passkey could take it from its owner."""
        http = browser(world.farm)
        assert show(http, device.get(sign_in_options(http))) == (200, "")
        forged = copy.deepcopy(device)
        forged.create({"rp": {"id": "localhost"}, "user": {"id": text(b"x")}, "challenge": "AA"})
        forged.credentials[0].key, forged.credentials[0].count = forged.credentials[1].key, 0
        assert show(http, forged.get(sign_in_options(http), forged.credentials[0])) == REFUSED
        assert show(http, device.get(sign_in_options(http))) == (200, "")

    def test_one_that_does_not_count_is_never_suspended(self, world: World, trader: Trader) -> None:
        device = Authenticator(counts=False)
        add(trader, device)
        for _ in range(2):
            http = browser(world.farm)
            assert show(http, device.get(sign_in_options(http))) == (200, "")

    @given(kept=st.integers(0, 2**32 - 1), shown=st.integers(0, 2**32 - 1))
    def test_a_counter_must_grow_unless_there_is_none(self, kept: int, shown: int) -> None:
        assert went_back(kept, shown) is not (shown > kept or kept == shown == 0)


class TestStepUp:
    def test_with_one_of_ones_own(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        world.clock.advance(minutes=10)
        assert trader.call("POST", "/auth/passkeys/registration-options", 403)["code"] == "step_up_required"
        options = trader.call("POST", "/auth/passkeys/step-up-options")["options"]
        assert [each["id"] for each in options["allowCredentials"]] == [added_id(device)]
        trader.call("POST", "/auth/step-up", 204, {"passkey": device.get(options)})
        trader.call("POST", "/auth/passkeys/registration-options")

    def test_the_password_is_not_enough_any_more(self, trader: Trader, added: Any) -> None:
        refused = trader.call("POST", "/auth/step-up", 401, {"password": PASSWORD})
        assert refused["code"] == "second_factor_required"

    def test_a_challenge_for_adding_one_is_no_step_up(
        self, world: World, trader: Trader, device: Authenticator, added: Any
    ) -> None:
        options = trader.call("POST", "/auth/passkeys/registration-options")["options"]
        refused = trader.call("POST", "/auth/step-up", 401, {"passkey": device.get(options)})
        assert refused["code"] == "bad_passkey"

    def test_nobody_elses_helps(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        other, theirs = world.trader("other@example.com"), Authenticator()
        add(other, theirs)
        world.clock.advance(minutes=10)
        options = trader.call("POST", "/auth/passkeys/step-up-options")["options"]
        refused = trader.call("POST", "/auth/step-up", 401, {"passkey": theirs.get(options)})
        assert refused["code"] == "bad_passkey"
        assert trader.call("POST", "/auth/passkeys/registration-options", 403)["code"] == "step_up_required"


def added_id(device: Authenticator) -> str:
    return text(device.credentials[0].credential_id)


class TestWhatNeedsASecondFactor:
    def test_a_passkey_is_one_for_staff(self, world: World, trader: Trader, device: Authenticator) -> None:
        world.give_role(trader, Role.SUPPORT)
        assert trader.call("GET", "/members", 403)["code"] == "second_factor_required"
        add(trader, device)
        trader.call("GET", "/members")

    def test_a_passkey_is_one_for_live_credentials_while_its_proof_is_fresh(
        self, world: World, trader: Trader, device: Authenticator
    ) -> None:
        with world.farm.database.write_as_system() as session:
            add_server(session, world.clock, LIVE, "Real Broker", None)
        body = {"label": "Live", "login": 1, "password": "x", "server": LIVE}
        assert trader.call("POST", "/accounts", 403, body)["code"] == "second_factor_required"
        add(trader, device)
        world.clock.advance(minutes=10)
        assert trader.call("POST", "/accounts", 403, body)["code"] == "step_up_required"
        options = trader.call("POST", "/auth/passkeys/step-up-options")["options"]
        trader.call("POST", "/auth/step-up", 204, {"passkey": device.get(options)})
        trader.call("POST", "/accounts", 201, body)

    def test_the_last_factor_of_staff_is_not_removed(self, world: World, trader: Trader, added: Any) -> None:
        world.give_role(trader, Role.SUPPORT)
        path = f"/auth/passkeys/{added['id']}"
        assert trader.call("DELETE", path, 409)["code"] == "second_factor_needed"
        trader.enrol_second_factor()
        trader.call("DELETE", path, 204)
        assert trader.call("DELETE", "/auth/second-factor", 409)["code"] == "second_factor_needed"
        trader.call("GET", "/members")


class TestRemoving:
    def test_ends_it_at_once_and_is_told(self, world: World, trader: Trader, device: Authenticator, added: Any) -> None:
        trader.call("DELETE", f"/auth/passkeys/{added['id']}", 204)
        http = browser(world.farm)
        assert show(http, device.get(sign_in_options(http))) == REFUSED
        assert "A passkey was removed" in mail_to(world.farm, trader.email)
        assert http.post(f"{AUTH}/sign-in", json=RIGHT).status_code == 200
        assert trader.call("GET", "/auth/second-factor")["recovery_codes_left"] == 0

    def test_needs_a_fresh_proof_and_ones_own(self, world: World, trader: Trader, added: Any) -> None:
        other = world.trader("other@example.com")
        path = f"/auth/passkeys/{added['id']}"
        assert other.call("DELETE", path, 404)["code"] == "passkey_not_found"
        assert other.call("PUT", path, 404, {"name": "mine"})["code"] == "passkey_not_found"
        world.clock.advance(minutes=10)
        assert trader.call("DELETE", path, 403)["code"] == "step_up_required"

    def test_the_app_goes_and_passkeys_stay(self, trader: Trader, device: Authenticator, added: Any) -> None:
        trader.enrol_second_factor()
        trader.call("DELETE", "/auth/second-factor", 204)
        assert trader.call("GET", "/me")["second_factor"] is True
        assert trader.call("GET", "/auth/second-factor")["recovery_codes_left"] == 10


class TestWhatIsKept:
    def test_challenges_are_hashes_and_go_when_they_are_old(self, world: World, trader: Trader) -> None:
        http = browser(world.farm)
        options = sign_in_options(http)
        with world.farm.database.read_as_system() as session:
            kept = session.query(PasskeyChallenge).one()
        assert options["challenge"] not in repr(vars(kept))
        assert http.cookies["mt5farm_ceremony"] not in kept.holder
        world.clock.advance(minutes=5)
        world.run_loops()
        with world.farm.database.read_as_system() as session:
            assert session.query(PasskeyChallenge).count() == 0


@pytest.mark.parametrize(
    "content",
    [b"[" * 11_000, b"[]", b"7", b"null", b'{"type":7,"challenge":7,"origin":7}', b"\xff", b'{"type":[[[[]]]]}'],
)
def test_client_data_of_another_shape_is_refused(content: bytes) -> None:
    answer = {"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": text(content)}}
    with pytest.raises(UnauthorisedError):
        challenge_in(answer)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {"clientDataJSON": st.binary(max_size=200).map(text), "attestationObject": st.binary(max_size=300).map(text)}
    )
)
def test_garbage_is_refused_and_never_a_mistake_of_the_farm(response: dict[str, str]) -> None:
    answer = {"id": "AA", "rawId": "AA", "type": "public-key", "response": response}
    with pytest.raises(UnauthorisedError):
        registered(answer, b"challenge", RelyingParty("localhost", ("http://localhost:8080",), "Farm"))
