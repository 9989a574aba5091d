"""Keys for programs: shown once, kept as a hash, limited to scopes, and of no use for a user's own sign-in."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.app import create_app, openapi_document
from control_plane.identity.model import ApiKey
from control_plane.identity.scopes import allowed_scopes, needed_scope
from control_plane.identity.state import Role
from tests.unit.control_plane.world import ORIGIN, InProcess, NodePlayer, Trader, World

pytestmark = pytest.mark.both_databases

ORDER = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}
OUT_OF_REACH = {"identity", "farm", "service_accounts", "recorded mail"}
"""Tags of routes that take no key: those that need none, and those about how somebody or something signs in."""
ONLY_TO_READ = {"alerts", "members", "risk"}
"""What a program may see: it invites nobody, loosens no limit and turns no warning off."""


def make(trader: Trader, *scopes: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = trader.call("POST", "/auth/api-keys", 201, {"name": "Robot", "scopes": scopes, **more})
    return made


def program(world: World, key: str, **headers: str) -> httpx.Client:
    """No browser: it sends no Origin and no cookie."""
    return httpx.Client(
        transport=InProcess(create_app(world.farm)),
        base_url=f"{ORIGIN}/api/v1",
        headers={"Authorization": f"Bearer {key}", **headers},
    )


def test_a_key_is_shown_once_and_kept_as_a_hash(world: World, trader: Trader) -> None:
    made = make(trader, "read")
    secret = made["key"].rpartition("_")[2]
    assert made["key"].startswith(made["prefix"])
    listed = trader.call("GET", "/auth/api-keys")["items"]
    assert [each["prefix"] for each in listed] == [made["prefix"]]
    assert "key" not in listed[0]
    with world.farm.database.read_as_system() as session:
        assert session.query(ApiKey).one().secret_hash not in made["key"]
    for file in world.data.glob("farm.sqlite3*"):
        assert secret.encode() not in file.read_bytes()


def test_it_reads_what_is_its_users(world: World, trader: Trader) -> None:
    account = trader.connect()["id"]
    http = program(world, make(trader, "read")["key"])
    assert [each["id"] for each in http.get("/accounts").json()["items"]] == [account]
    assert http.get("/me").json()["id"] == trader.user["id"]
    other = program(world, make(world.trader("other@example.com"), "read")["key"])
    assert other.get("/accounts").json()["items"] == []
    assert other.get(f"/accounts/{account}").status_code == 404


def test_each_scope_opens_its_own_doors_only(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    doors = {
        "read": ("GET", f"/accounts/{account}", None),
        "trade": ("POST", f"/accounts/{account}/orders", ORDER),
        "bots": ("POST", "/bots/bot_x/start", None),
        "accounts": ("POST", f"/accounts/{account}/undeploy", None),
    }
    for scope in doors:
        http = program(world, make(trader, scope)["key"], **{"Idempotency-Key": scope})
        for name, (method, path, body) in doors.items():
            response = http.request(method, path, json=body)
            refused = response.status_code == 403 and response.json()["code"] == "scope_required"
            assert refused == (name != scope), (scope, name, response.text)


def test_the_fleet_is_for_keys_of_those_who_run_it(world: World, trader: Trader) -> None:
    refused = trader.call("POST", "/auth/api-keys", 422, {"name": "Robot", "scopes": ["fleet"]})
    assert [each["field"] for each in refused["errors"]] == ["scopes"]
    ops = world.operator()
    key = make(ops, "fleet")["key"]
    assert program(world, key).get("/nodes").status_code == 200
    with world.farm.database.write_as_system() as session:
        world.farm.identity.set_role(session, "ops@example.com", Role.TRADER)
    assert program(world, key).get("/nodes").status_code == 403


def test_it_never_reaches_the_users_own_sign_in(world: World, trader: Trader) -> None:
    http = program(world, make(trader, *allowed_scopes(Role.TRADER))["key"])
    for method, path in (
        ("GET", "/auth/sessions"),
        ("GET", "/auth/api-keys"),
        ("POST", "/auth/second-factor/totp"),
        ("POST", "/auth/sign-out-everywhere"),
    ):
        assert http.request(method, path).json()["code"] == "session_required", path
    more = {"name": "More", "scopes": ["read"]}
    assert http.post("/auth/api-keys", json=more).json()["code"] == "session_required"


@pytest.mark.parametrize(
    "change", [lambda key: key[:-1] + "!", lambda key: key + "a", lambda _: "x", lambda key: f"{key[:-4]}aaaa"]
)
def test_what_is_not_quite_a_key_is_none(world: World, trader: Trader, change: Any) -> None:
    key = make(trader, "read")["key"]
    response = program(world, change(key)).get("/me")
    assert (response.status_code, response.json()["code"]) == (401, "bad_api_key")


def test_a_revoked_or_expired_key_is_none(world: World, trader: Trader) -> None:
    revoked, short = make(trader, "read"), make(trader, "read", expires_in_days=1)
    trader.call("DELETE", f"/auth/api-keys/{revoked['id']}", 204)
    assert program(world, revoked["key"]).get("/me").status_code == 401
    assert program(world, short["key"]).get("/me").status_code == 200
    world.clock.advance(days=1)
    assert program(world, short["key"]).get("/me").status_code == 401
    other = world.trader("other@example.com")
    assert other.call("DELETE", f"/auth/api-keys/{short['id']}", 404)["code"] == "api_key_not_found"


def test_making_one_takes_a_fresh_proof(world: World, trader: Trader) -> None:
    world.clock.advance(minutes=10)
    refused = trader.call("POST", "/auth/api-keys", 403, {"name": "Robot", "scopes": ["read"]})
    assert refused["code"] == "step_up_required"


def test_a_bad_key_is_not_helped_by_a_cookie(world: World, trader: Trader) -> None:
    response = trader.http.get("/api/v1/me", headers={"Authorization": "Bearer nonsense"})
    assert response.status_code == 401


def test_when_a_key_was_used_is_known_to_five_minutes(world: World, trader: Trader) -> None:
    made = make(trader, "read")
    assert made["last_used_at"] is None
    program(world, made["key"]).get("/me")
    first = trader.call("GET", "/auth/api-keys")["items"][0]["last_used_at"]
    world.clock.advance(minutes=5)
    program(world, made["key"]).get("/me")
    assert first < trader.call("GET", "/auth/api-keys")["items"][0]["last_used_at"]


def test_every_route_says_what_it_asks_of_a_key() -> None:
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            tags = operation["tags"]
            open_to_keys = needed_scope(method.upper(), tags) is not None
            only_to_read = bool(ONLY_TO_READ & set(tags)) and method != "get"
            assert open_to_keys != (only_to_read or bool(OUT_OF_REACH & set(tags))), (method, path)
