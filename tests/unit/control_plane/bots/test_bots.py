"""Bots: what can be set, what they come to, and when they may go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.entitlements import service as entitlements_service
from control_plane.entitlements.decision import BotWish, Entitlements, StrategyKind, refusal
from node_agent.protocol.messages import BotLogBody, BotPhase, BotRule, PaperFill, Phase
from tests.unit.control_plane.world import NodePlayer, Trader, World, deal_body, event, observed, observed_bot

pytestmark = pytest.mark.both_databases


def settings(account: str, **changes: Any) -> dict[str, Any]:
    body = {
        "account_id": account,
        "name": "Cross",
        "strategy": "moving_average_cross",
        "symbol": "EURUSD",
        "timeframe": "M1",
        "volume": 0.1,
        "parameters": {"fast": 3},
    }
    return {**body, **changes}


def test_a_new_bot_is_stopped_and_has_all_parameters(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))
    assert (bot["intent"], bot["phase"], bot["trades"], bot["profit"]) == ("stopped", "stopped", 0, "0.00")
    known = trader.call("GET", "/strategies")["items"][0]["parameters"]
    assert bot["parameters"] == {**{each["name"]: each["default"] for each in known}, "fast": 3}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"strategy": "nope"}, "strategy"),
        ({"timeframe": "M7"}, "timeframe"),
        ({"parameters": {"fast": 2.5}}, "parameters.fast"),
        ({"parameters": {"unknown": 1}}, "parameters.unknown"),
        ({"parameters": {"fast": 1e9}}, "parameters.fast"),
        ({"parameters": {"fast": 50, "slow": 20}}, "parameters"),
        ({"volume": 0}, "volume"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(
    world: World, trader: Trader, node: NodePlayer, change: dict[str, Any], field: str
) -> None:
    account, _ = world.ready_account(trader, node)
    problem = trader.call("POST", "/bots", 422, settings(account, **change))
    assert problem["errors"][0]["field"] == field


def test_magic_numbers_are_unique_in_an_account_for_ever(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    first = trader.call("POST", "/bots", 201, settings(account))
    trader.call("DELETE", f"/bots/{first['id']}", 204)
    second = trader.call("POST", "/bots", 201, settings(account))
    assert second["magic"] == first["magic"] + 1


def test_it_starts_runs_and_stops_as_the_agent_says(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))["id"]
    assert trader.call("POST", f"/bots/{bot}/start", 202)["phase"] == "starting"
    node.make_ready(wanted)
    desired = node.desired[0].bots[0]
    assert (desired.bot_id, desired.parameters["fast"], desired.revision) == (bot, 3, 2)
    node.make_ready(wanted, bots=[observed_bot(bot, desired.revision)])
    assert trader.call("GET", f"/bots/{bot}")["phase"] == "running"
    trader.call("POST", f"/bots/{bot}/stop", 202)
    assert trader.call("DELETE", f"/bots/{bot}", 409)["code"] == "bot_not_stopped"
    node.make_ready(wanted)
    assert node.desired[0].bots == []
    assert trader.call("GET", f"/bots/{bot}")["phase"] == "stopped"
    trader.call("DELETE", f"/bots/{bot}", 204)
    trader.call("GET", f"/bots/{bot}", 404)


def test_a_terminal_that_stops_ends_its_bots_whatever_its_last_report_says_of_them(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))["id"]
    trader.call("POST", f"/bots/{bot}/start", 202)
    trader.call("POST", f"/accounts/{account}/undeploy", 202)
    node.fetch()
    node.sync(observed(wanted, phase=Phase.STOPPED, bots=[observed_bot(bot, 2)]))
    assert trader.call("GET", f"/bots/{bot}")["phase"] != "running"


def test_a_bot_that_failed_for_good_is_tried_again_when_it_is_started_again(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))["id"]
    trader.call("POST", f"/bots/{bot}/start", 202)
    node.make_ready(wanted, bots=[observed_bot(bot, 2, BotPhase.FAILED)])
    assert trader.call("GET", f"/bots/{bot}")["phase"] == "failed"
    trader.call("POST", f"/bots/{bot}/stop", 202)
    shown = trader.call("POST", f"/bots/{bot}/start", 202)
    assert shown["phase"] == "starting"
    node.make_ready(wanted)
    assert node.desired[0].bots[0].revision == 3


def test_its_result_is_what_its_deals_came_to(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))
    magic = bot["magic"]
    node.deliver(
        event(wanted, "1", deal_body(1, magic=magic, commission=-0.5)),
        event(wanted, "2", deal_body(2, magic=magic, entry=1, profit=10.25, commission=-0.5, swap=-0.05)),
        event(wanted, "3", deal_body(3, magic=magic, commission=-0.5)),
        event(wanted, "4", deal_body(4, magic=magic + 1, profit=99.0)),
    )
    shown = trader.call("GET", f"/bots/{bot['id']}")
    assert (shown["trades"], shown["profit"]) == (2, "8.70")
    by_ticket = {each["ticket"]: each["bot_id"] for each in trader.call("GET", f"/accounts/{account}/deals")["items"]}
    assert by_ticket == {1: bot["id"], 2: bot["id"], 3: bot["id"], 4: None}


def test_a_bot_never_inherits_the_positions_of_one_before_it(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    first = trader.call("POST", "/bots", 201, settings(account))
    trader.call("DELETE", f"/accounts/{account}", 202)
    again = trader.connect(5001)["id"]
    assert trader.call("POST", "/bots", 201, settings(again))["magic"] == first["magic"] + 1


def test_a_paused_bot_runs_on_without_a_restart_and_may_open_nothing(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))["id"]
    assert trader.call("POST", f"/bots/{bot}/pause", 409)["code"] == "bot_not_running"
    trader.call("POST", f"/bots/{bot}/start", 202)
    node.make_ready(wanted, bots=[observed_bot(bot, 2)])
    shown = trader.call("POST", f"/bots/{bot}/pause", 202)
    assert (shown["intent"], shown["phase"]) == ("paused", "running")
    node.make_ready(wanted, bots=[observed_bot(bot, 2)])
    assert (node.desired[0].bots[0].revision, rule(node, bot).opens) == (2, False)
    trader.call("POST", f"/bots/{bot}/start", 202)
    node.make_ready(wanted, bots=[observed_bot(bot, 2)])
    assert (node.desired[0].bots[0].revision, rule(node, bot).opens) == (2, True)


def rule(node: NodePlayer, bot: str) -> BotRule:
    rules = node.desired[0].guard.bots
    assert rules is not None
    return rules[bot]


def test_a_bot_that_finishes_stops_when_its_last_position_is_closed_by_whomever(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))
    trader.call("POST", f"/bots/{bot['id']}/start", 202)
    node.make_ready(wanted, bots=[observed_bot(bot["id"], 2)])
    node.deliver(event(wanted, "1", deal_body(1, magic=bot["magic"], position_ticket=77)))
    assert trader.call("POST", f"/bots/{bot['id']}/finish", 202)["intent"] == "finishing"
    node.make_ready(wanted, bots=[observed_bot(bot["id"], 2)])
    assert (trader.call("GET", f"/bots/{bot['id']}")["intent"], rule(node, bot["id"]).opens) == ("finishing", False)
    node.deliver(event(wanted, "2", deal_body(2, magic=0, position_ticket=77, entry=1)))
    node.make_ready(wanted, bots=[observed_bot(bot["id"], 2)])
    assert trader.call("GET", f"/bots/{bot['id']}")["intent"] == "stopped"


def test_a_bot_that_finishes_with_nothing_open_stops_at_once(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))["id"]
    trader.call("POST", f"/bots/{bot}/start", 202)
    assert trader.call("POST", f"/bots/{bot}/finish", 202)["intent"] == "stopped"


def test_settings_change_with_a_history_and_go_back(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account))
    trader.call("POST", f"/bots/{bot['id']}/start", 202)
    changed = trader.call("PATCH", f"/bots/{bot['id']}", 200, {"volume": 0.3, "parameters": {"fast": 7}})
    assert (changed["volume"], changed["parameters"]["fast"]) == (0.3, 7)
    node.make_ready(wanted)
    assert (node.desired[0].bots[0].revision, node.desired[0].bots[0].volume) == (3, 0.3)
    trader.call("PATCH", f"/bots/{bot['id']}", 200, {"volume": 0.3})
    (change,) = trader.call("GET", f"/bots/{bot['id']}/changes")["items"]
    assert (change["by"], change["before"]["volume"], change["after"]["volume"]) == (trader.user["id"], 0.1, 0.3)
    back = trader.call("POST", f"/bots/{bot['id']}/changes/{change['id']}/revert", 200)
    assert {name: back[name] for name in change["before"]} == change["before"]
    assert len(trader.call("GET", f"/bots/{bot['id']}/changes")["items"]) == 2
    problem = trader.call("PATCH", f"/bots/{bot['id']}", 422, {"parameters": {"fast": 50, "slow": 20}})
    assert problem["code"] == "invalid_parameters"


def test_a_bot_on_paper_may_send_nothing(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account, paper=True))["id"]
    trader.call("POST", f"/bots/{bot}/start", 202)
    node.make_ready(wanted)
    assert (node.desired[0].bots[0].paper, rule(node, bot).sends) == (True, False)


def filled(bot: str, entry: str, profit: float = 0.0, text: str = "paper") -> BotLogBody:
    values: dict[str, Any] = {"entry": entry, "side": "buy" if entry == "in" else "sell", "profit": profit}
    fill = PaperFill(position=1, symbol="EURUSD", volume=0.1, price=1.1, time=1_767_600_000, **values)
    return BotLogBody(bot_id=bot, level="info", text=text, fill=fill)


def test_what_a_bot_fills_on_paper_is_its_result(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account, paper=True))["id"]
    profits = {"f1": ("in", 0.0), "f2": ("out", 2.5), "f3": ("in", 0.0), "f4": ("out", -4.25)}
    for name, (entry, profit) in profits.items():
        for _ in range(2):  # a node may deliver twice
            assert node.deliver(event(wanted, name, filled(bot, entry, profit))).accepted == [name]
        world.clock.advance(seconds=1)
    shown = trader.call("GET", f"/bots/{bot}")
    assert (shown["trades"], shown["profit"]) == (2, "-1.75")
    page = trader.call("GET", f"/bots/{bot}/paper-deals?limit=3")
    assert [(one["profit"], one["total"]) for one in page["items"]] == [
        ("-4.25", "-1.75"),
        ("0.00", "2.50"),
        ("2.50", "2.50"),
    ]
    rest = trader.call("GET", f"/bots/{bot}/paper-deals?cursor={page['next_cursor']}")
    assert [(one["entry"], one["side"], one["total"]) for one in rest["items"]] == [("in", "buy", "0.00")]
    assert len(trader.call("GET", f"/bots/{bot}/log")["items"]) == 4


def test_a_bot_that_finishes_on_paper_stops_once_it_holds_nothing_there(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, wanted = world.ready_account(trader, node)
    bot = trader.call("POST", "/bots", 201, settings(account, paper=True))["id"]
    trader.call("POST", f"/bots/{bot}/start", 202)
    node.deliver(event(wanted, "f1", filled(bot, "in")))
    assert trader.call("POST", f"/bots/{bot}/finish", 202)["intent"] == "finishing"
    node.obey()
    assert trader.call("GET", f"/bots/{bot}")["intent"] == "finishing"
    node.deliver(event(wanted, "f2", filled(bot, "out", 1.0)))
    assert trader.call("GET", f"/bots/{bot}")["intent"] == "stopped"


def test_a_live_bot_cannot_claim_fills_on_paper_and_no_claim_breaks_the_sum(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, wanted = world.ready_account(trader, node)
    live = trader.call("POST", "/bots", 201, settings(account))["id"]
    node.deliver(event(wanted, "f1", filled(live, "out", 100.0)))
    assert trader.call("GET", f"/bots/{live}")["profit"] == "0.00"
    assert trader.call("GET", f"/bots/{live}/paper-deals")["items"] == []
    paper = trader.call("POST", "/bots", 201, settings(account, paper=True))["id"]
    for number in range(12):
        node.deliver(event(wanted, f"g{number}", filled(paper, "out", 9.9e9)))
    assert float(trader.call("GET", f"/bots/{paper}")["profit"]) == pytest.approx(12 * 9.9e9)


def test_a_plan_may_refuse_a_bot(
    world: World, trader: Trader, node: NodePlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _ = world.ready_account(trader, node)
    held = Entitlements(pairs=frozenset({"GBPUSD"}), auto_trading=False)
    monkeypatch.setattr(entitlements_service, "held_by", lambda _session, tenants: dict.fromkeys(tenants, held))
    assert trader.call("POST", "/bots", 403, settings(account))["code"] == "plan_pairs"
    assert trader.call("POST", "/bots", 403, settings(account, symbol="GBPUSD"))["code"] == "plan_auto_trading"
    trader.call("POST", "/bots", 201, settings(account, symbol="GBPUSD", paper=True))


def test_a_plan_has_so_many_symbols_for_the_bots_of_an_account(
    world: World, trader: Trader, node: NodePlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _ = world.ready_account(trader, node)
    held = Entitlements(max_symbols=1)
    monkeypatch.setattr(entitlements_service, "held_by", lambda _session, tenants: dict.fromkeys(tenants, held))
    first = trader.call("POST", "/bots", 201, settings(account))["id"]
    other = trader.call("POST", "/bots", 201, settings(account, symbol="GBPUSD"))["id"]
    trader.call("POST", f"/bots/{first}/start", 202)
    refused = trader.call("POST", f"/bots/{other}/start", 403)
    assert (refused["code"], "EURUSD" in refused["detail"]) == ("plan_symbols", True)
    trader.call("POST", f"/bots/{first}/stop", 202)
    trader.call("POST", f"/bots/{other}/start", 202)


@given(
    st.builds(
        Entitlements,
        pairs=st.none() | st.frozensets(st.sampled_from("ABC")),
        max_symbols=st.none() | st.integers(0, 3),
        running_bots=st.none() | st.integers(0, 3),
    ),
    st.lists(st.sampled_from("ABC"), max_size=12),
)
def test_what_a_plan_admits_never_exceeds_it(held: Entitlements, wishes: list[str]) -> None:
    running: list[str] = []
    for symbol in wishes:
        wish = BotWish(symbol, StrategyKind.BASIC, paper=False, running=len(running), symbols=frozenset(running))
        if refusal(held, wish) is None:
            running.append(symbol)
    assert held.pairs is None or set(running) <= held.pairs
    assert held.max_symbols is None or len(set(running)) <= held.max_symbols
    assert held.running_bots is None or len(running) <= held.running_bots
