"""What plans allow, and what happens when somebody gets another one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from control_plane.audit.model import AuditEntry
from control_plane.entitlements.decision import BotWish, StrategyKind, refusal
from control_plane.entitlements.plans import BASIC_STRATEGIES, CATALOGUE, LEARNING_STRATEGIES, Plan, allowed_by, kind_of
from control_plane.identity.state import Role
from mt5_bridge.strategies.registry import BUILT_IN
from node_agent.protocol.messages import BotPhase, DesiredTerminal
from tests.unit.control_plane.world import (
    NodePlayer,
    Trader,
    World,
    build_world,
    observed,
    observed_bot,
)

both_databases = pytest.mark.both_databases
WHY = "they asked for it"


def give(world: World, person: Trader, plan: Plan | None, status: int = 200) -> dict[str, Any]:
    """By somebody who may."""
    owner = world.operator(Role.OWNER, f"owner-{plan or 0}@example.com")
    path = f"/members/{person.user['id']}"
    tag = owner.request("GET", path).headers["ETag"]
    response = owner.http.put(f"/api/v1{path}/plan", json={"plan": plan, "reason": WHY}, headers={"If-Match": tag})
    assert response.status_code == status, response.text
    told: dict[str, Any] = response.json()
    return told


def bot(account: str, **changes: Any) -> dict[str, Any]:
    body = {
        "account_id": account,
        "name": "Cross",
        "strategy": "moving_average_cross",
        "symbol": "EURUSD",
        "timeframe": "M1",
        "volume": 0.1,
        "parameters": {},
    }
    return {**body, **changes}


def wanted(node: NodePlayer) -> DesiredTerminal:
    (desired,) = node.fetch().terminals
    return desired


def test_every_built_in_strategy_is_of_a_known_kind() -> None:
    assert set(BUILT_IN) >= BASIC_STRATEGIES | LEARNING_STRATEGIES
    kinds = {kind_of(name, custom=False) for name in BUILT_IN}
    assert kinds == {StrategyKind.BASIC, StrategyKind.BUILT_IN, StrategyKind.LEARNING}
    assert kind_of("learned_direction", custom=True) is StrategyKind.CUSTOM


@given(
    symbol=st.sampled_from("AB"),
    kind=st.sampled_from(StrategyKind),
    paper=st.booleans(),
    symbols=st.frozensets(st.sampled_from("ABCDE")),
)
def test_a_dearer_plan_refuses_nothing_that_a_cheaper_one_allows(
    symbol: str, kind: StrategyKind, *, paper: bool, symbols: frozenset[str]
) -> None:
    wish = BotWish(symbol, kind, paper=paper, running=len(symbols), symbols=symbols)
    allowed = [refusal(CATALOGUE[plan], wish) is None for plan in Plan]
    assert allowed == sorted(allowed)
    assert allowed[-1]
    assert refusal(allowed_by(None), wish) is None


@pytest.mark.parametrize(
    ("plan", "refused"),
    [
        (Plan.FREE, {"live": "plan_auto_trading", "other": "plan_indicators", "ai": "plan_ai", "paper": None}),
        (Plan.BASIC, {"live": None, "other": None, "ai": "plan_ai", "paper": None}),
        (Plan.PRO, {"live": None, "other": None, "ai": None, "paper": None}),
    ],
)
@both_databases
def test_bots_are_what_the_plan_allows(
    world: World, trader: Trader, node: NodePlayer, plan: Plan, refused: dict[str, str | None]
) -> None:
    account, _ = world.ready_account(trader, node)
    give(world, trader, plan)
    assert trader.call("GET", "/plans")["yours"] == plan
    wishes = {
        "live": bot(account),
        "other": bot(account, strategy="rsi_reversion", paper=True),
        "ai": bot(account, strategy="learned_direction", paper=True),
        "paper": bot(account, paper=True),
    }
    for name, wish in wishes.items():
        response = trader.request("POST", "/bots", wish)
        assert response.json().get("code") == refused[name], name


@both_databases
def test_nodes_hold_what_the_plan_leaves_of_the_symbols(world: World, trader: Trader, node: NodePlayer) -> None:
    world.ready_account(trader, node)
    assert wanted(node).guard.max_symbols is None
    before = node.sync(observed(wanted(node))).generation
    give(world, trader, Plan.FREE)
    assert node.sync(observed(wanted(node))).generation > before
    assert wanted(node).guard.max_symbols == 1
    give(world, trader, None)
    assert wanted(node).guard.max_symbols is None


@both_databases
def test_bots_that_a_new_plan_does_not_allow_finish_and_close_nothing(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, desired = world.ready_account(trader, node)
    bots = {}
    wishes: dict[str, dict[str, Any]] = {"live": {}, "paper": {"paper": True}}
    for name, changes in {**wishes, "third": {"paper": True, "symbol": "GBPUSD"}}.items():
        bots[name] = trader.call("POST", "/bots", 201, bot(account, **changes))["id"]
        trader.call("POST", f"/bots/{bots[name]}/start", 202)
    node.sync(observed(desired, bots=[observed_bot(each, 1, BotPhase.RUNNING) for each in bots.values()]))
    give(world, trader, Plan.FREE)
    intents = {name: trader.call("GET", f"/bots/{each}")["intent"] for name, each in bots.items()}
    assert intents == {"live": "stopped", "paper": "running", "third": "stopped"}, "flat, so they stop at once"
    give(world, trader, None)
    trader.call("POST", f"/bots/{bots['live']}/start", 202)
    with world.farm.database.read_as_system() as session:
        deeds = session.scalars(select(AuditEntry).where(AuditEntry.action == "set_plan").order_by(AuditEntry.seq))
        told = [(json.loads(each.before or ""), json.loads(each.after or ""), each.reason) for each in deeds]
        finished = session.scalars(select(AuditEntry).where(AuditEntry.action == "finish_bot").order_by(AuditEntry.seq))
        assert [(each.subject_id, each.reason) for each in finished] == [
            (bots["live"], "plan_auto_trading"),
            (bots["third"], "plan_symbols"),
        ]
    assert told == [
        ({"plan": None}, {"plan": "free", "finishing": [bots["live"], bots["third"]]}, WHY),
        ({"plan": "free"}, {"plan": None, "finishing": []}, WHY),
    ]


@both_databases
def test_of_bots_for_too_many_symbols_the_oldest_go_on(world: World, trader: Trader, node: NodePlayer) -> None:
    account, desired = world.ready_account(trader, node)
    made = []
    for symbol in ("EURUSD", "GBPUSD", "USDJPY", "EURUSD", "AUDUSD"):
        made.append(trader.call("POST", "/bots", 201, bot(account, symbol=symbol))["id"])
        trader.call("POST", f"/bots/{made[-1]}/start", 202)
    node.sync(observed(desired, bots=[observed_bot(each, 1, BotPhase.RUNNING) for each in made]))
    give(world, trader, Plan.BASIC)
    intents = [trader.call("GET", f"/bots/{each}")["intent"] for each in made]
    assert intents == ["running", "running", "running", "running", "stopped"]


@both_databases
def test_programs_trade_only_where_the_plan_has_it(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    trader.enrol_second_factor()
    wish = {"name": "Robot", "scopes": ["read"]}
    key = trader.call("POST", "/auth/api-keys", 201, wish)["key"]
    give(world, trader, Plan.BASIC)
    trader.call("POST", f"/accounts/{account}/tickets", 201, {"scope": "trade"})
    assert trader.call("POST", "/auth/api-keys", 403, wish)["code"] == "plan_programs"
    program = trader.http.get("/api/v1/accounts", headers={"Authorization": f"Bearer {key}"})
    assert (program.status_code, program.json()["code"]) == (403, "plan_programs")
    give(world, trader, Plan.FREE)
    assert trader.call("POST", f"/accounts/{account}/tickets", 403, {"scope": "trade"})["code"] == "plan_auto_trading"
    trader.call("POST", f"/accounts/{account}/tickets", 201, {"scope": "read"})
    give(world, trader, Plan.ENTERPRISE)
    assert trader.http.get("/api/v1/accounts", headers={"Authorization": f"Bearer {key}"}).status_code == 200


@both_databases
def test_a_plan_is_given_by_those_who_saw_how_things_are(world: World, trader: Trader) -> None:
    owner = world.operator(Role.OWNER, "owner@example.com")
    path, wish = f"/api/v1/members/{trader.user['id']}/plan", {"plan": "pro", "reason": WHY}
    assert owner.http.put(path, json=wish).status_code == 428
    tag = owner.request("GET", f"/members/{trader.user['id']}").headers["ETag"]
    assert owner.http.put(path, json=wish, headers={"If-Match": tag}).json()["plan"] == "pro"
    assert owner.http.put(path, json=wish, headers={"If-Match": tag}).status_code == 412
    assert owner.http.put(path, json={**wish, "plan": "gold"}, headers={"If-Match": "*"}).status_code == 422
    trader.call("PUT", f"/members/{trader.user['id']}/plan", 403, wish)


def test_a_farm_may_give_new_traders_a_plan(tmp_path: Any) -> None:
    world = build_world(tmp_path / "data", sign_up_plan="free")
    try:
        assert world.trader().call("GET", "/plans")["yours"] == "free"
    finally:
        world.farm.stop()
