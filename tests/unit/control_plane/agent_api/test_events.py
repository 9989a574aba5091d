"""Facts from the nodes: stored once, whatever happens on the way."""

from __future__ import annotations

import pytest

from node_agent.protocol.messages import BotLogBody, DealBody, Phase
from tests.unit.control_plane.world import NodePlayer, Trader, World, deal_body, event, observed

pytestmark = pytest.mark.both_databases


def deals(trader: Trader, account: str) -> list[dict[str, object]]:
    items: list[dict[str, object]] = trader.call("GET", f"/accounts/{account}/deals")["items"]
    return items


def test_a_deal_delivered_twice_is_recorded_once(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    batch = [event(wanted, "deal:1", deal_body(1)), event(wanted, "deal:2", deal_body(2))]
    assert node.deliver(*batch).accepted == ["deal:1", "deal:2"]
    assert node.deliver(*batch, event(wanted, "other-id", deal_body(2))).rejected == {}
    assert [each["ticket"] for each in deals(trader, account)] == [2, 1]


def test_the_trade_log_shows_deals_as_mt5_names_them(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    body = deal_body(1, type=1, entry=1, reason=4, profit=-12.3, comment="[sl 1.1]")
    node.deliver(event(wanted, "d", body), event(wanted, "b", deal_body(0, type=2, profit=10_000.0, symbol="")))
    shown = deals(trader, account)
    assert (shown[0]["type"], shown[0]["entry"], shown[0]["reason"]) == ("sell", "out", "sl")
    assert (shown[0]["profit"], shown[0]["commission"], shown[0]["swap"]) == ("-12.30", "-0.07", "0.00")
    assert (shown[1]["type"], shown[1]["profit"]) == ("balance", "10000.00")


def test_facts_of_an_older_epoch_are_still_facts(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    trader.call("POST", f"/accounts/{account}/undeploy", 202)
    node.sync(observed(wanted, phase=Phase.STOPPED))
    node.sync(observed(wanted, phase=Phase.STOPPED))
    trader.call("POST", f"/accounts/{account}/deploy", 202)
    world.run_loops()
    assert node.deliver(event(wanted, "late", deal_body(1))).accepted == ["late"]
    assert len(deals(trader, account)) == 1


def test_a_node_cannot_write_into_accounts_it_never_held(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    forged = [
        event(wanted, "future-epoch", deal_body(1), epoch=wanted.epoch + 1),
        event(wanted, "no-account", deal_body(2), account_id="acc_0000000000000000"),
    ]
    assert set(node.deliver(*forged).rejected) == {"future-epoch", "no-account"}
    assert list(world.node().deliver(event(wanted, "other-node", deal_body(3))).rejected) == ["other-node"]
    assert deals(trader, account) == []


def test_one_impossible_event_does_not_hold_up_the_others(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    ack = node.deliver(event(wanted, "bad", deal_body(1, profit=1e300)), event(wanted, "good", deal_body(2)))
    assert (ack.accepted, list(ack.rejected)) == (["good"], ["bad"])
    assert [each["ticket"] for each in deals(trader, account)] == [2]


@pytest.mark.parametrize("body", [deal_body(2**63), deal_body(1, magic=2**64 - 1), deal_body(1, comment="a\0b")])
def test_what_no_database_can_hold_does_not_hold_up_the_others(
    world: World, trader: Trader, node: NodePlayer, body: DealBody
) -> None:
    _, wanted = world.ready_account(trader, node)
    ack = node.deliver(event(wanted, "bad", body), event(wanted, "good", deal_body(2)))
    assert (ack.accepted, list(ack.rejected)) == (["good"], ["bad"])


def test_deals_outlive_the_account(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    trader.call("DELETE", f"/accounts/{account}", 202)
    assert node.deliver(event(wanted, "d", deal_body(1))).accepted == ["d"]


def test_log_lines_of_a_bot_come_once_and_only_to_its_own_account(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    account, wanted = world.ready_account(trader, node)
    other, other_wanted = world.ready_account(trader, node, 5002)
    settings = {"strategy": "moving_average_cross", "symbol": "EURUSD", "timeframe": "M1", "volume": 0.1}
    bot = trader.call("POST", "/bots", 201, {"account_id": account, "name": "b", **settings})["id"]
    body = BotLogBody(bot_id=bot, level="info", text="hello")
    for _ in range(2):
        assert node.deliver(event(wanted, "log:1", body)).accepted == ["log:1"]
    assert list(node.deliver(event(other_wanted, "log:2", body)).rejected) == ["log:2"]
    assert [each["text"] for each in trader.call("GET", f"/bots/{bot}/log")["items"]] == ["hello"]
    assert other != account
