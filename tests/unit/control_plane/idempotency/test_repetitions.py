"""An Idempotency-Key: its request is done once, and its repetitions are answered as the first time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from control_plane.accounts.model import Account
from control_plane.api_route import REPLAYED
from control_plane.bots.model import Bot
from control_plane.errors import ConflictError
from control_plane.idempotency.model import RepeatableRequest
from control_plane.idempotency.service import REMEMBERED, Asked
from control_plane.identity.model import ApiKey
from control_plane.reconcile.retention import Retention
from tests.tenants import BOT
from tests.unit.control_plane.world import SERVER, Trader, World

pytestmark = pytest.mark.both_databases
ACCOUNT = {"label": "Main", "login": 5001, "password": "broker-secret", "server": SERVER}


def count(world: World, model: type[Any]) -> int:
    with world.farm.database.read_as_system() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def rows(world: World) -> list[RepeatableRequest]:
    with world.farm.database.read_as_system() as session:
        return list(session.scalars(select(RepeatableRequest)))


def test_a_repetition_gives_the_first_answer_and_does_nothing(world: World, trader: Trader) -> None:
    first = trader.request("POST", "/accounts", ACCOUNT, key="k")
    again = trader.request("POST", "/accounts", ACCOUNT, key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert (first.headers.get(REPLAYED), again.headers[REPLAYED]) == (None, "true")
    assert again.headers["content-type"] == "application/json"
    assert count(world, Account) == 1


def test_a_repetition_keeps_what_says_when_to_look_again(trader: Trader) -> None:
    account = trader.connect()["id"]
    trader.request("POST", f"/accounts/{account}/undeploy", key="k")
    again = trader.request("POST", f"/accounts/{account}/undeploy", key="k")
    assert (again.status_code, again.headers["retry-after"]) == (202, "1")


def test_an_answer_without_a_body_is_repeated_too(trader: Trader) -> None:
    account = trader.connect()["id"]
    for _ in range(2):
        response = trader.request("POST", f"/accounts/{account}/end-sessions", key="k")
        assert (response.status_code, response.content) == (204, b"")
    assert response.headers[REPLAYED] == "true"


@pytest.mark.parametrize("change", [{"label": "Other"}, {"password": "another"}])
def test_a_key_stands_for_one_wish(trader: Trader, change: dict[str, str]) -> None:
    trader.call("POST", "/accounts", 201, ACCOUNT, key="k")
    assert trader.call("POST", "/accounts", 409, ACCOUNT | change, key="k")["code"] == "idempotency_key_reused"


def test_a_key_stands_for_one_address(trader: Trader) -> None:
    account = trader.connect()["id"]
    trader.call("POST", f"/accounts/{account}/deploy", 202, key="k")
    assert trader.call("POST", f"/accounts/{account}/undeploy", 409, key="k")["code"] == "idempotency_key_reused"


def test_others_have_keys_of_their_own(world: World, trader: Trader) -> None:
    trader.call("POST", "/accounts", 201, ACCOUNT, key="k")
    world.trader("second@example.com").call("POST", "/accounts", 201, ACCOUNT, key="k")
    assert count(world, Account) == 2


def test_what_was_refused_may_be_tried_again(world: World, trader: Trader) -> None:
    trader.call("POST", "/accounts", 422, ACCOUNT | {"server": "Nowhere"}, key="k")
    trader.call("POST", "/accounts", 422, {"label": "no more"}, key="k")
    assert rows(world) == []
    trader.call("POST", "/accounts", 201, ACCOUNT, key="k")


def test_nothing_that_was_asked_or_shown_in_confidence_is_kept(world: World, trader: Trader) -> None:
    wish = {"name": "Script", "scopes": ["read"]}
    shown = trader.call("POST", "/auth/api-keys", 201, wish, key="k")["key"]
    trader.call("POST", "/accounts", 201, ACCOUNT, key="other")
    assert trader.call("POST", "/auth/api-keys", 409, wish, key="k")["code"] == "shown_once"
    assert count(world, ApiKey) == 1
    kept = repr([vars(row) for row in rows(world)])
    assert shown not in kept
    assert "broker-secret" not in kept


def test_fingerprints_of_two_farms_tell_nothing_of_each_other(world: World, trader: Trader) -> None:
    """Who has the table alone cannot try passwords on it."""
    user = trader_user(world)
    farm = world.farm
    other = type(farm.repetitions)(farm.database, b"another secret", farm.clock)
    farm.repetitions.begin(Asked(user, "a", b"same"))
    other.begin(Asked(user, "b", b"same"))
    first, second = rows(world)
    assert first.fingerprint != second.fingerprint


def trader_user(world: World) -> Any:
    with world.farm.database.read_as_system() as session:
        return world.farm.identity.require_user(session, "trader@example.com")


class TestWhatWasNeverAnswered:
    def test_is_not_begun_twice_while_it_runs(self, world: World, trader: Trader) -> None:
        asked = Asked(trader_user(world), "k", b"wish")
        assert world.farm.repetitions.begin(asked) is None
        with pytest.raises(ConflictError) as error:
            world.farm.repetitions.begin(asked)
        assert (error.value.code, error.value.retryable) == ("request_in_progress", True)

    def test_is_for_a_person_to_look_at_once_it_was_cut_short(self, world: World, trader: Trader) -> None:
        asked = Asked(trader_user(world), "k", b"wish")
        world.farm.repetitions.begin(asked)
        world.clock.advance(minutes=3)
        with pytest.raises(ConflictError) as error:
            world.farm.repetitions.begin(asked)
        assert (error.value.code, error.value.retryable) == ("outcome_unknown", False)

    def test_is_not_done_again_when_the_farm_made_a_mistake(
        self, world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr(world.farm.accounts, "connect", fail)
            assert trader.request("POST", "/accounts", ACCOUNT, key="k").status_code == 500
        world.clock.advance(minutes=3)
        assert trader.call("POST", "/accounts", 409, ACCOUNT, key="k")["code"] == "outcome_unknown"


def test_of_many_at_once_one_is_done(world: World, trader: Trader) -> None:
    account = trader.connect()["id"]
    together = threading.Barrier(4)

    def ask(_: int) -> int:
        together.wait()
        return trader.request("POST", "/bots", {**BOT, "account_id": account}, key="k").status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(ask, range(4)))
    assert set(statuses) <= {201, 409}
    assert count(world, Bot) == 1


def test_a_key_is_remembered_for_a_day(world: World, trader: Trader) -> None:
    first = trader.call("POST", "/accounts", 201, ACCOUNT, key="k")
    farm = world.farm
    retention = Retention(farm.database, farm.bundles, farm.clock)
    world.clock.advance(seconds=REMEMBERED.total_seconds() - 1)
    retention.run_once()
    assert trader.call("POST", "/accounts", 201, ACCOUNT, key="k") == first
    world.clock.advance(seconds=2)
    assert trader.call("POST", "/accounts", 409, ACCOUNT, key="k")["code"] == "account_already_connected"
    retention.run_once()
    assert rows(world) == []


@pytest.mark.parametrize("key", ["", "k" * 201, "\u00e9"])
def test_a_key_that_is_none_is_refused(trader: Trader, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    response = trader.http.post("/api/v1/accounts", json=ACCOUNT, headers=headers)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
