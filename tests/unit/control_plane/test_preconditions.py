"""If-Match: a thing is changed as it was seen, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from control_plane.errors import InvalidInputError, PreconditionFailedError, PreconditionRequiredError
from control_plane.identity.state import Role
from control_plane.preconditions import entity_tag, require_match
from tests.tenants import BOT
from tests.unit.control_plane.world import NodePlayer, Trader, World

PRESENT = entity_tag("acc_1", "running")


@pytest.mark.parametrize("given", [None, "*", PRESENT, f'"other", {PRESENT}', f" {PRESENT} "])
def test_what_is_as_it_was_seen_may_be_changed(given: str | None) -> None:
    require_match(given, PRESENT)


@pytest.mark.parametrize("given", [entity_tag("acc_1", "stopped"), f"W/{PRESENT}", '""'])
def test_what_was_changed_meanwhile_may_not(given: str) -> None:
    with pytest.raises(PreconditionFailedError):
        require_match(given, PRESENT)


@pytest.mark.parametrize("given", ["", "nonsense", PRESENT.strip('"'), f"{PRESENT} {PRESENT}", '"'])
def test_what_is_no_tag_is_said_to_be_none(given: str) -> None:
    with pytest.raises(InvalidInputError):
        require_match(given, PRESENT)


def test_where_it_is_needed_it_must_be_there() -> None:
    with pytest.raises(PreconditionRequiredError):
        require_match(None, PRESENT, needed=True)


def test_no_two_wishes_have_one_tag() -> None:
    assert len({entity_tag("a", "b"), entity_tag("ab", ""), entity_tag("a", None), entity_tag("a", "None")}) == 4


def tag(person: Trader, path: str) -> str:
    return person.http.get(f"/api/v1{path}").headers["etag"]


def send(person: Trader, method: str, path: str, seen: str, body: Mapping[str, object] | None = None) -> int:
    return person.http.request(method, f"/api/v1{path}", json=body, headers={"If-Match": seen}).status_code


@pytest.mark.both_databases
class TestThings:
    def test_an_account_is_changed_as_it_was_seen(self, trader: Trader) -> None:
        path = f"/accounts/{trader.connect()['id']}"
        for method, what, body in (
            ("POST", "/undeploy", None),
            ("PUT", "/lease-policy", {"policy": "self_fence"}),
            ("PUT", "/credentials", {"password": "new"}),
            ("POST", "/deploy", None),
            ("DELETE", "", None),
        ):
            seen = tag(trader, path)
            assert send(trader, method, path + what, '"other"', body) == 412
            assert tag(trader, path) == seen
            assert send(trader, method, path + what, seen, body) in {200, 202}
            if what:
                assert tag(trader, path) != seen
                assert send(trader, method, path + what, seen, body) == 412

    def test_what_is_observed_changes_no_tag(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account = trader.connect()["id"]
        seen = tag(trader, f"/accounts/{account}")
        world.run_loops()
        assert trader.call("GET", f"/accounts/{account}")["terminal"]["node_name"] == "node-1"
        assert tag(trader, f"/accounts/{account}") == seen

    def test_a_bot_is_changed_as_it_was_seen(self, trader: Trader) -> None:
        bot = trader.call("POST", "/bots", 201, {**BOT, "account_id": trader.connect()["id"]})["id"]
        for method, what in (("POST", "/start"), ("POST", "/stop"), ("DELETE", "")):
            seen = tag(trader, f"/bots/{bot}")
            assert send(trader, method, f"/bots/{bot}{what}", '"other"') == 412
            assert send(trader, method, f"/bots/{bot}{what}", seen) in {202, 204}
            if what:
                assert send(trader, method, f"/bots/{bot}{what}", seen) == 412

    def test_a_node_is_operated_as_it_was_seen(self, world: World, node: NodePlayer) -> None:
        ops, path = world.operator(Role.OPS, "ops@example.com"), f"/nodes/{node.node_id}"
        for deed in ("cordon", "uncordon", "drain", "cancel-drain", "revoke"):
            seen, why = tag(ops, path), {"reason": "to see who may"}
            assert send(ops, "POST", f"{path}/{deed}", '"other"', why) == 412
            assert send(ops, "POST", f"{path}/{deed}", seen, why) in {200, 202}
            assert tag(ops, path) != seen

    def test_a_foreign_thing_does_not_exist_whatever_was_seen(self, world: World, trader: Trader) -> None:
        account = world.trader("owner@example.com").connect()["id"]
        assert send(trader, "POST", f"/accounts/{account}/undeploy", '"other"') == 404
