"""What holds for every route: problems, sessions, forgery, foreign rows, headers and the contract."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from control_plane.app import create_app, openapi_document
from control_plane.errors import FarmError, TooLargeError
from control_plane.middleware import BodyLimit
from tests.unit.control_plane.world import ORIGIN, PASSWORD, InProcess, NodePlayer, Trader, World, browser, build_world

DOCUMENT = openapi_document()
PROBLEM = "application/problem+json"


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def protected() -> list[tuple[str, str]]:
    by_mail = ("sign-up", "verify-email", "request-reset", "reset-password", "accept-invitation", "undo-email-change")
    sign_in = ("sign-in", "sign-out", "passkeys/sign-in-options", "passkeys/sign-in")
    free = {"/api/v1/farm", "/api/v1/recorded-mails", "/api/v1/alerts/unsubscribe"} | {
        f"/api/v1/auth/{name}" for name in (*by_mail, *sign_in)
    }
    return [(method, path) for method, path, _ in operations() if path not in free]


@dataclass(frozen=True)
class Neighbours:
    """One trader with an account and a bot, and another one who has neither."""

    world: World
    stranger: Trader
    account: str
    bot: str

    def try_as_stranger(self, method: str, path: str) -> httpx.Response:
        names = {"account_id": self.account, "bot_id": self.bot, "ticket": 1, "ticket_id": TICKET, "order_id": ORDER}
        concrete = path.removeprefix("/api/v1").format(**names, change_id="chg_1")
        return self.stranger.request(method, concrete + _query(path), BODIES.get(path), key=f"{method} {path}")


@pytest.fixture(scope="module")
def neighbours(first_start: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """One farm for all: nothing that is tried there succeeds."""
    data = tmp_path_factory.mktemp("neighbours") / "farm"
    shutil.copytree(first_start, data)
    world = build_world(data)
    owner = world.trader("owner@example.com")
    account, _ = world.ready_account(owner, world.node())
    bot = owner.call("POST", "/bots", 201, {**BOT, "account_id": account})["id"]
    yield Neighbours(world, world.trader(), account, bot)
    world.farm.stop()


class TestContract:
    def test_operation_ids_are_unique_verbs_and_nouns(self) -> None:
        ids = [operation["operationId"] for _, _, operation in operations()]
        assert len(ids) == len(set(ids))
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", each) for each in ids)

    def test_every_error_is_documented_as_a_problem(self) -> None:
        for method, path, operation in operations():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == [PROBLEM], (method, path, status)

    def test_what_needs_a_session_says_401_and_what_changes_something_says_403(self) -> None:
        for method, path in protected():
            statuses = set(DOCUMENT["paths"][path][method.lower()]["responses"])
            assert "401" in statuses, (method, path)
            assert method == "GET" or "403" in statuses, (method, path)

    def test_every_reference_leads_somewhere(self) -> None:
        for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)):
            assert reference.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]

    def test_the_portal_is_built_from_this_very_contract(self) -> None:
        file = Path(create_app.__code__.co_filename).parent / "portal" / "openapi.json"
        assert json.loads(file.read_text()) == DOCUMENT, "run: mt5farm openapi > control_plane/portal/openapi.json"

    def test_trading_needs_an_idempotency_key(self) -> None:
        for name in ("place_order", "close_position"):
            operation = next(each for _, _, each in operations() if each["operationId"] == name)
            header = next(each for each in operation["parameters"] if each["name"] == "Idempotency-Key")
            assert header["required"]


def cursor_of(*keys: object) -> str:
    """A cursor that a caller made up."""
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode("ascii").rstrip("=")


class TestProblems:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/api/v1/nothing", 404, "not_found"),
            ("PATCH", "/api/v1/accounts", 405, "method_not_allowed"),
            ("GET", "/api/v1/accounts/acc_x", 404, "account_not_found"),
            ("GET", "/api/v1/accounts?cursor=@@@", 422, "invalid_input"),
            ("GET", "/api/v1/accounts?limit=0", 422, "invalid_input"),
            ("GET", "/api/v1/bots/bot_x", 404, "bot_not_found"),
            ("GET", f"/api/v1/accounts?cursor={cursor_of(chr(0xD800))}", 422, "invalid_input"),
            ("GET", f"/api/v1/accounts/acc_x/deals?cursor={cursor_of(10**30, 1)}", 422, "invalid_input"),
            (
                "GET",
                f"/api/v1/accounts/acc_x/orders?cursor={cursor_of('0001-01-01T00:00:00+23:59', 'x')}",
                422,
                "invalid_input",
            ),
            ("GET", f"/api/v1/{'a' * 5000}", 404, "not_found"),
        ],
    )
    def test_have_one_shape(self, trader: Trader, method: str, path: str, status: int, code: str) -> None:
        response = trader.http.request(method, path)
        body = response.json()
        assert (response.status_code, body["code"], body["status"]) == (status, code, status)
        assert response.headers["content-type"] == PROBLEM
        assert {"type", "title", "detail", "retryable"} <= set(body)

    @pytest.mark.parametrize("name", ['"\\ud800"', '"fast"'])
    def test_made_up_names_and_numbers_are_one(self, trader: Trader, name: str) -> None:
        bot = '{"account_id": "acc_x", "name": "b", "strategy": "s", "symbol": "E", "timeframe": "M1", "volume": 1,'
        content = f'{bot} "parameters": {{{name}: "x"}}}}'
        response = trader.http.post("/api/v1/bots", content=content, headers={"Content-Type": "application/json"})
        assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b'{"email": "a@example.com", "password": "\\u0000"}', "nul_character"),
            (b'{"email": "a@example.com", "password": "\\ud800"}', "lone_surrogate"),
            (b'{"\\udfff": 1}', "lone_surrogate"),
            (b'{"email": NaN}', "invalid_json"),
            (b'{"email": ' + b"9" * 5000 + b"}", "invalid_json"),
            (b"[" * 100_000, "invalid_json"),
            (b"\xff\xfe\x00", "invalid_json"),
        ],
    )
    def test_texts_that_nothing_can_hold_are_one(self, world: World, content: bytes, code: str) -> None:
        headers = {"Content-Type": "application/json"}
        response = browser(world.farm).post("/api/v1/auth/sign-in", content=content, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, code)

    @pytest.mark.parametrize("path", ["/accounts/acc%00x", "/accounts?cursor=%00", "/broker-servers?query=a%00"])
    def test_an_address_with_a_nul_is_one(self, trader: Trader, path: str) -> None:
        assert trader.call("GET", path, 422)["code"] == "nul_character"

    def test_who_is_nobody_is_told_so_before_the_body_is_read(self, world: World) -> None:
        headers = {"Content-Type": "application/json"}
        response = browser(world.farm).post("/api/v1/bots", content=b"{", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "not_signed_in")

    def test_a_body_that_no_request_needs_is_one(self, world: World) -> None:
        content = b'{"email": "' + b"a" * 300_000
        headers = {"Content-Type": "application/json"}
        response = browser(world.farm).post("/api/v1/auth/sign-in", content=content, headers=headers)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_a_body_of_unannounced_length_ends_at_the_limit(self) -> None:
        async def greedy(_scope: Scope, receive: Receive, _send: Send) -> None:
            while True:
                await receive()

        async def endless() -> Message:
            return {"type": "http.request", "body": b"12345", "more_body": True}

        async def nowhere(_message: Message) -> None:
            raise AssertionError

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        with pytest.raises(TooLargeError):
            asyncio.run(BodyLimit(greedy, most_bytes=12)(scope, endless, nowhere))

    def test_a_position_ticket_that_mt5_cannot_have_is_one(self, trader: Trader) -> None:
        trader.call("POST", f"/accounts/acc_x/positions/{2**63}/close", 422, key="k")

    def test_broken_json_is_one(self, trader: Trader) -> None:
        response = trader.http.post("/api/v1/accounts", content=b"{", headers={"Content-Type": "application/json"})
        assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)

    def test_the_unforeseen_is_one_and_tells_nothing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(world.farm.sessions, "authenticate", fail)
        response = browser(world.farm).get("/api/v1/me")
        assert (response.status_code, response.json()["code"]) == (500, FarmError.default_code)
        assert "secret detail" not in response.text

    def test_input_errors_never_repeat_a_password(self, trader: Trader) -> None:
        response = trader.request("POST", "/accounts", {"label": "", "login": 1, "password": "hunter2-broker"})
        assert response.status_code == 422
        assert "hunter2" not in response.text


class TestSessions:
    @pytest.mark.parametrize(("method", "path"), protected())
    def test_nothing_is_shown_without_one(self, neighbours: Neighbours, method: str, path: str) -> None:
        concrete = re.sub(r"\{ticket\}", "1", re.sub(r"\{\w+_id\}", "x", path))
        response = browser(neighbours.world.farm, **{"Idempotency-Key": "k"}).request(method, concrete)
        assert (response.status_code, response.json()["code"]) == (401, "not_signed_in")

    def test_the_cookie_is_out_of_reach_of_scripts(self, world: World) -> None:
        world.trader()
        body = {"email": "trader@example.com", "password": PASSWORD}
        response = browser(world.farm).post("/api/v1/auth/sign-in", json=body)
        session, device = (each.lower() for each in response.headers.get_list("set-cookie"))
        assert all("httponly" in each for each in (session, device))
        assert "samesite=lax" in session
        assert "path=/;" in session
        assert "samesite=strict" in device
        assert "path=/api/v1/auth;" in device


class TestForgery:
    @pytest.mark.parametrize(
        ("headers", "allowed"),
        [
            ({"Origin": ORIGIN}, True),
            ({"Origin": "", "Sec-Fetch-Site": "same-origin"}, True),
            ({"Origin": ""}, False),
            ({"Origin": "https://evil.example"}, False),
            ({"Origin": "null"}, False),
            ({"Origin": f"{ORIGIN}.evil.example"}, False),
            ({"Origin": "", "Sec-Fetch-Site": "cross-site"}, False),
            ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
        ],
    )
    def test_only_the_farms_own_pages_may_change_something(
        self, world: World, headers: dict[str, str], allowed: bool
    ) -> None:
        response = browser(world.farm, **headers).post("/api/v1/auth/sign-out")
        assert response.status_code == (204 if allowed else 403)

    def test_a_form_cannot_pose_as_json(self, trader: Trader) -> None:
        response = trader.http.post("/api/v1/accounts", content=b"{}", headers={"Content-Type": "text/plain"})
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


class TestTenancy:
    @pytest.mark.parametrize(
        ("method", "path"), [(method, path) for method, path in protected() if "{account_id}" in path]
    )
    def test_a_foreign_account_does_not_exist(self, neighbours: Neighbours, method: str, path: str) -> None:
        response = neighbours.try_as_stranger(method, path)
        assert (response.status_code, response.json()["code"]) == (404, "account_not_found")

    @pytest.mark.parametrize(("method", "path"), [(method, path) for method, path in protected() if "{bot_id}" in path])
    def test_a_foreign_bot_does_not_exist(self, neighbours: Neighbours, method: str, path: str) -> None:
        response = neighbours.try_as_stranger(method, path)
        assert (response.status_code, response.json()["code"]) == (404, "bot_not_found")

    def test_a_bot_cannot_be_set_on_a_foreign_account(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, _ = world.ready_account(world.trader("owner@example.com"), node)
        assert trader.call("POST", "/bots", 404, {**BOT, "account_id": account})["code"] == "account_not_found"

    def test_lists_hold_only_ones_own(self, world: World, trader: Trader, node: NodePlayer) -> None:
        owner = world.trader("owner@example.com")
        account, _ = world.ready_account(owner, node)
        owner.call("POST", "/bots", 201, {**BOT, "account_id": account})
        assert trader.call("GET", "/accounts")["items"] == []
        assert trader.call("GET", "/bots")["items"] == []
        assert trader.call("GET", f"/bots?account_id={account}")["items"] == []


BOT = {
    "name": "Cross",
    "strategy": "moving_average_cross",
    "symbol": "EURUSD",
    "timeframe": "M1",
    "volume": 0.1,
}
TICKET = "tik_00000000000000000000000000"
ORDER = "ord_00000000000000000000000000"
_ACCOUNT = "/api/v1/accounts/{account_id}"
BODIES: dict[str, dict[str, Any]] = {
    f"{_ACCOUNT}/credentials": {"password": "x"},
    f"{_ACCOUNT}/orders": {"symbol": "EURUSD", "side": "buy", "volume": 0.1},
    f"{_ACCOUNT}/tickets": {"scope": "trade"},
    f"{_ACCOUNT}/move": {"with_positions": False},
    f"{_ACCOUNT}/lease-policy": {"policy": "self_fence"},
    f"{_ACCOUNT}/orders/preview": {"symbol": "EURUSD", "side": "buy", "volume": 0.1},
    f"{_ACCOUNT}/orders/{{order_id}}/resolve": {"happened": True},
    f"{_ACCOUNT}/positions/{{ticket}}/close-by": {"position_by": 2},
    f"{_ACCOUNT}/positions/{{ticket}}/modify": {"stop_loss": 1.0},
    f"{_ACCOUNT}/pending-orders/{{ticket}}/modify": {"price": 1.0},
    f"{_ACCOUNT}/guard": {"limits": {}},
    f"{_ACCOUNT}/kill": {"mode": "no_new_orders"},
    "/api/v1/bots/{bot_id}": {"name": "Cross"},
}


def _query(path: str) -> str:
    return {"bars": "?symbol=EURUSD", "calendar": "?month=2026-11"}.get(path.rpartition("/")[2], "")


class TestPortal:
    def test_says_how_to_build_it_when_it_is_not(self, world: World) -> None:
        response = browser(world.farm).get("/accounts/acc_1")
        assert response.status_code == 503
        assert "make portal" in response.text

    def test_a_name_that_no_file_can_have_is_a_page_too(self, world: World) -> None:
        dist = world.farm.settings.portal_dist
        dist.mkdir()
        (dist / "index.html").write_text("portal")
        assert browser(world.farm).get(f"/{'a' * 300}").text == "portal"

    def test_every_page_is_the_application_under_a_strict_policy(self, world: World) -> None:
        dist = world.farm.settings.portal_dist
        (dist / "assets").mkdir(parents=True)
        (dist / "index.html").write_text("<!doctype html><title>portal</title>")
        (dist / "assets" / "app-1.js").write_text("1")
        (dist.parent / "secret.txt").write_text("secret")
        http = browser(world.farm)
        for path in ("/", "/accounts/acc_1", "/sign-in"):
            response = http.get(path)
            assert "portal" in response.text
            policy = response.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "script-src 'self';" in policy
            assert response.headers["x-content-type-options"] == "nosniff"
        assert "immutable" in http.get("/assets/app-1.js").headers["cache-control"]
        assert http.get("/assets/gone.js").status_code == 404
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt"):
            assert "secret" not in http.get(path).text

    def test_answers_of_the_api_are_never_cached(self, trader: Trader) -> None:
        assert trader.http.get("/api/v1/me").headers["cache-control"] == "no-store"


def test_health_needs_no_sign_in(world: World) -> None:
    http = httpx.Client(transport=InProcess(create_app(world.farm)), base_url=ORIGIN)
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    assert http.get("/api/v1/farm").json()["simulated"] is True


def test_every_answer_names_its_request(trader: Trader) -> None:
    assert trader.http.get("/api/v1/me", headers={"X-Request-Id": "abc-12345"}).headers["x-request-id"] == "abc-12345"
    assert trader.http.get("/api/v1/me", headers={"X-Request-Id": "a b\t"}).headers["x-request-id"].startswith("req_")
