"""One account follows another, through the order desk that everybody uses."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from control_plane.access.port import LinkLostError
from control_plane.reconcile.copying import CopyLoop
from mt5_bridge.structs import AccountInfo, OrderSendResult, TradePosition, TradeRequest
from node_agent.protocol.messages import ObservedTerminal
from tests.tenants import two_tenants
from tests.unit.control_plane.world import (
    FakeTerminal,
    Trader,
    World,
    deal_body,
    event,
    filled,
    observed,
    snapshot,
)

pytestmark = pytest.mark.both_databases


class Broker(FakeTerminal):
    """A terminal whose orders open, change and close positions; `lose` answers are lost after the fill."""

    lose = 0
    unlisted = 0
    """How often a position is asked for and not found although it is open."""
    tickets = 1000

    def position(self, ticket: int) -> Any:
        if self.unlisted:
            self.unlisted -= 1
            return None
        return super().position(ticket)

    def send_once(self, client_order_id: str, request: Mapping[str, Any]) -> Any:
        if client_order_id in self.journal:
            raise AssertionError("the same order twice")
        self.sent.append((client_order_id, dict(request)))
        ticket = self._fill(request)
        self._record(client_order_id, "done", 10009, order=ticket, deal=ticket, price=1.1001)
        if self.lose:
            self.lose -= 1
            raise LinkLostError("cut")
        return filled(
            OrderSendResult, retcode=10009, order=ticket, deal=ticket, price=1.1001, request=filled(TradeRequest)
        )

    def _fill(self, request: Mapping[str, Any]) -> int:
        self.tickets += 1
        held = self.positions.get(request.get("position", 0))
        if held is not None and request["action"] == 6:
            self.put(held.ticket, held.volume, sl=request["sl"], tp=request["tp"], magic=held.magic)
        elif held is None:
            self.put(self.tickets, request["volume"], magic=request.get("magic", 0), buy=request["type"] == 0)
        elif held.volume - request["volume"] > 0.001:
            self.put(held.ticket, round(held.volume - request["volume"], 2), magic=held.magic)
        else:
            del self.positions[held.ticket]
        return self.tickets

    def put(
        self, ticket: int, volume: float, sl: float = 0.0, tp: float = 0.0, magic: int = 0, *, buy: bool = True
    ) -> None:
        self.positions[ticket] = filled(
            TradePosition,
            ticket=ticket,
            symbol="EURUSD",
            type=0 if buy else 1,
            volume=volume,
            price_open=1.1,
            sl=sl,
            tp=tp,
            magic=magic,
        )


class Pair:
    """A leader and a follower of one user, both ready."""

    def __init__(self, world: World) -> None:
        self.world, self.trader, self.node = world, world.trader(), world.node()
        ids = [self.trader.connect(login)["id"] for login in (5001, 5002)]
        world.run_loops()
        wanted = {each.account_id: each for each in self.node.fetch().terminals}
        self.desired = [wanted[each] for each in ids]
        self.leader_id, self.follower_id = ids
        self.leader, self.follower = Broker(), Broker()
        for each, broker in zip(self.desired, (self.leader, self.follower), strict=True):
            world.door.terminals[each.terminal_id] = broker
        self.report()

    def report(self, follower_equity: float = 10_000.0) -> None:
        seen: list[ObservedTerminal] = []
        for each, login, equity in zip(self.desired, (5001, 5002), (10_000.0, follower_equity), strict=True):
            known = snapshot(login, equity, self.world.clock.now())
            seen.append(observed(each, account=known, last_answer_at=self.world.clock.now()))
        self.node.sync(*seen)

    def start(self, **rules: Any) -> str:
        wish = {"leader_account_id": self.leader_id, "follower_account_id": self.follower_id, "rules": rules}
        copier: str = self.trader.call("POST", "/copiers", 201, wish)["id"]
        self.look()
        self.look_for(5)
        return copier

    def look(self) -> None:
        next(each for each in self.world.farm.loops if each.name == "copying").step()

    def look_for(self, seconds: int) -> None:
        """Once a second."""
        for _ in range(seconds):
            self.world.clock.advance(seconds=1)
            self.look()

    def copied(self) -> list[Any]:
        """Positions of the follower that are not its own."""
        return [each for each in self.follower.positions.values() if each.magic >= 700_000_000]

    def notes(self, copier: str) -> list[str]:
        return [each["note"] for each in self.trader.call("GET", f"/copiers/{copier}/positions")["items"]]

    def another_farm(self) -> CopyLoop:
        """On the same database: a second control plane, or this one after it was started again."""
        farm = self.world.farm
        return CopyLoop(farm.database, farm.door, farm.desk, farm.copying, farm.clock)


class Netting(Broker):
    def account_info(self) -> Any:
        return filled(AccountInfo, margin_mode=0)


def test_what_the_leader_does_the_follower_has_done_once(world: World) -> None:
    pair = Pair(world)
    pair.follower.put(7, 3.0)
    copier = pair.start(value="0.5")
    pair.leader.put(1, 0.4, sl=1.05)
    for _ in range(3):
        pair.look()
    world.clock.advance(seconds=11)
    pair.look()
    (copied,) = [each for each in pair.follower.positions.values() if each.magic]
    assert (copied.volume, copied.type, copied.sl) == (0.2, 0, 1.05)
    pair.leader.put(1, 0.2, sl=1.05)
    pair.look()
    pair.leader.positions.clear()
    pair.look_for(6)
    assert list(pair.follower.positions) == [7], "its own position is untouched"
    shown = pair.trader.call("GET", f"/copiers/{copier}/positions")["items"]
    assert [each["state"] for each in shown] == ["closed"]
    trades = pair.trader.call("GET", f"/copiers/{copier}/trades", 200)["items"]
    assert {each["kind"] for each in trades} == {"open", "modify", "close"} or len(trades) == 3
    assert all(each["state"] == "done" for each in trades)


def test_what_the_leader_held_at_the_start_is_copied_and_not_measured(world: World) -> None:
    pair = Pair(world)
    pair.leader.put(1, 0.1)
    copier = pair.start(copy_open=True)
    pair.look()
    (trade,) = pair.trader.call("GET", f"/copiers/{copier}/trades")["items"]
    assert (trade["state"], trade["lag_ms"], trade["slippage_points"]) == ("done", None, None)
    pair.leader.put(2, 0.1)
    pair.look()
    newest = pair.trader.call("GET", f"/copiers/{copier}/trades")["items"]
    assert [each["lag_ms"] is not None for each in newest if each["leader_ticket"] == 2] == [True]


def test_a_lost_answer_doubles_nothing(world: World) -> None:
    pair = Pair(world)
    pair.start()
    pair.follower.lose = 1
    pair.leader.put(1, 0.1)
    pair.look()
    world.clock.advance(seconds=4)
    for _ in range(3):
        world.run_loops()
    assert len([each for each in pair.follower.positions.values() if each.magic]) == 1
    assert len({key for key, _ in pair.follower.sent}) == len(pair.follower.sent) == 1


def test_a_leader_that_does_not_answer_is_not_a_leader_without_positions(world: World) -> None:
    pair = Pair(world)
    pair.start()
    pair.leader.put(1, 0.1)
    pair.look()
    world.door.dead.add(pair.desired[0].terminal_id)
    pair.look()
    assert len(pair.follower.positions) == 1


def test_copying_stops_by_itself_at_a_drawdown_and_says_so(world: World) -> None:
    pair = Pair(world)
    copier = pair.start(stop_at_drawdown_percent=10)
    world.clock.advance(seconds=5)
    pair.report(follower_equity=8_900.0)
    pair.look()
    shown = pair.trader.call("GET", f"/copiers/{copier}")
    assert shown["state"] == "stopped"
    assert "11.0 %" in shown["reason"]
    assert "copying_stopped" in [each["event"] for each in pair.trader.call("GET", "/alerts")["items"]]
    pair.leader.put(1, 0.1)
    pair.look()
    assert not pair.follower.positions


def test_accounts_never_follow_each_other_in_a_circle(world: World) -> None:
    pair = Pair(world)
    pair.start()
    back = {"leader_account_id": pair.follower_id, "follower_account_id": pair.leader_id}
    pair.trader.call("POST", "/copiers", 409, back)
    same = {"leader_account_id": pair.leader_id, "follower_account_id": pair.leader_id}
    pair.trader.call("POST", "/copiers", 422, same)


def test_what_has_ended_takes_no_place_of_what_may_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.copying.service._MOST_COPIERS", 1)
    pair = Pair(world)
    copier = pair.start()
    wish = {"leader_account_id": pair.leader_id, "follower_account_id": pair.follower_id}
    pair.trader.call("POST", "/copiers", 409, wish)
    pair.trader.call("POST", f"/copiers/{copier}/stop")
    pair.trader.call("POST", "/copiers", 201, wish)
    assert len(pair.trader.call("GET", "/copiers")["items"]) == 2


def test_somebody_elses_account_is_followed_with_their_code_alone_and_once(world: World) -> None:
    pair = Pair(world)
    other: Trader = world.trader("other@example.com")
    own = other.connect(5003)["id"]
    other.call("POST", "/copiers", 404, {"leader_account_id": pair.leader_id, "follower_account_id": own})
    code = pair.trader.call("POST", "/copy-invitations", 201, {"account_id": pair.leader_id})["code"]
    made = other.call("POST", "/copiers", 201, {"code": code, "follower_account_id": own})
    assert made["leader_account_id"] is None
    assert pair.leader_id not in str(made)
    other.call("POST", "/copiers", 422, {"code": code, "follower_account_id": own})
    seen = pair.trader.call("GET", "/copiers")["items"][0]
    assert (seen["leads"], seen["follows"], seen["rules"]) == (True, False, None)
    pair.trader.call("POST", f"/copiers/{made['id']}/pause", 404)
    pair.trader.call("GET", f"/copiers/{made['id']}/trades", 404)
    assert pair.trader.call("POST", f"/copiers/{made['id']}/stop")["state"] == "stopped"


def test_a_code_is_of_no_use_in_another_tenant(world: World) -> None:
    first, second = two_tenants(world)
    code = first.trader.call("POST", "/copy-invitations", 201, {"account_id": first.account_id})["code"]
    second.trader.call("POST", "/copiers", 422, {"code": code, "follower_account_id": second.account_id})


def test_rules_are_changed_as_they_were_seen_and_copying_pauses_and_goes_on(world: World) -> None:
    pair = Pair(world)
    copier = pair.start()
    path = f"/copiers/{copier}"
    pair.trader.call("PUT", path, 200, {"value": "2"})
    assert pair.trader.call("POST", f"{path}/pause")["state"] == "paused"
    pair.leader.put(1, 0.1)
    pair.look()
    assert not pair.follower.positions
    assert pair.trader.call("POST", f"{path}/resume")["state"] == "active"
    pair.look()
    assert pair.trader.call("POST", f"{path}/stop")["state"] == "stopped"
    pair.trader.call("POST", f"{path}/resume", 409)


@pytest.mark.parametrize("copy_open", [False, True])
def test_what_was_open_before_is_copied_only_when_asked_for(world: World, copy_open: bool) -> None:
    pair = Pair(world)
    pair.leader.put(1, 0.1)
    copier = pair.start(copy_open=copy_open)
    pair.look_for(3)
    assert len(pair.copied()) == int(copy_open)
    if not copy_open:
        assert pair.notes(copier) == ["It was open before copying began."]
    pair.leader.put(2, 0.2)
    pair.look()
    assert len(pair.copied()) == 1 + int(copy_open)


def test_copying_that_is_paused_before_its_first_look_opens_nothing_until_it_goes_on(world: World) -> None:
    pair = Pair(world)
    pair.leader.put(1, 0.1)
    world.door.dead.add(pair.desired[1].terminal_id)
    copier = pair.start(copy_open=True)
    pair.trader.call("POST", f"/copiers/{copier}/pause")
    world.door.dead.clear()
    pair.look_for(40)
    assert not pair.copied()
    pair.report()
    pair.trader.call("POST", f"/copiers/{copier}/resume")
    pair.look()
    assert len(pair.copied()) == 1


def test_what_was_opened_during_a_pause_is_too_old_when_it_goes_on(world: World) -> None:
    pair = Pair(world)
    copier = pair.start()
    pair.trader.call("POST", f"/copiers/{copier}/pause")
    pair.leader.put(1, 0.1)
    pair.look_for(40)
    pair.report()
    pair.trader.call("POST", f"/copiers/{copier}/resume")
    pair.leader.put(2, 0.2)
    pair.look()
    assert [each.volume for each in pair.copied()] == [0.2]
    assert "It was too old when it was seen." in pair.notes(copier)


def test_a_follower_that_comes_back_opens_nothing_that_is_old(world: World) -> None:
    pair = Pair(world)
    copier = pair.start()
    pair.look_for(6)
    world.door.dead.add(pair.desired[1].terminal_id)
    pair.leader.put(1, 0.1)
    pair.look_for(40)
    world.door.dead.clear()
    pair.report()
    pair.look()
    assert not pair.copied()
    assert pair.notes(copier) == ["It was too old when it was seen."]


def test_a_leader_that_has_just_connected_and_lists_nothing_closes_nothing(world: World) -> None:
    pair = Pair(world)
    pair.start()
    pair.leader.put(1, 0.1)
    pair.look()
    pair.look_for(10)
    listed = dict(pair.leader.positions)
    for _ in range(3):
        world.door.dead.add(pair.desired[0].terminal_id)
        pair.look_for(4)
        world.door.dead.clear()
        pair.leader.positions.clear()
        pair.look_for(4)
        pair.leader.positions.update(listed)
        pair.look()
    assert len(pair.copied()) == 1
    assert len(pair.follower.sent) == 1


def test_what_a_leader_lists_only_later_at_the_start_was_open_before(world: World) -> None:
    pair = Pair(world)
    wish = {"leader_account_id": pair.leader_id, "follower_account_id": pair.follower_id}
    copier = pair.trader.call("POST", "/copiers", 201, wish)["id"]
    pair.look_for(3)
    pair.leader.put(1, 0.1)  # its terminal has connected again, and only now lists what was open all the time
    pair.look_for(6)
    assert not pair.copied()
    assert pair.notes(copier) == ["It was open before copying began."]


def test_a_follower_that_has_just_connected_and_lists_nothing_is_still_followed_to_the_end(world: World) -> None:
    pair = Pair(world)
    copier = pair.start()
    pair.leader.put(1, 0.1)
    pair.look()
    pair.look_for(12)
    listed = dict(pair.follower.positions)
    pair.follower.positions.clear()
    pair.leader.positions.clear()
    pair.look_for(4)
    pair.follower.positions.update(listed)
    pair.look_for(4)
    assert not pair.follower.positions
    assert pair.notes(copier) == ["It was closed by the leader."]


def test_a_closing_whose_position_is_not_found_for_a_moment_is_tried_again(world: World) -> None:
    pair = Pair(world)
    copier = pair.start()
    pair.leader.put(1, 0.1)
    pair.look()
    pair.look_for(12)
    pair.follower.unlisted = 1
    pair.leader.positions.clear()
    pair.look_for(7)
    assert not pair.follower.positions
    assert pair.notes(copier) == ["It was closed by the leader."]


def test_a_closing_that_the_trade_log_knows_is_copied_at_once(world: World) -> None:
    pair = Pair(world)
    pair.start()
    pair.leader.put(1, 0.2)
    pair.look()
    pair.look_for(12)
    into = deal_body(10, position_id=1, volume=0.2)
    half = deal_body(11, position_id=1, volume=0.1, entry=1, type=1)
    rest = deal_body(12, position_id=1, volume=0.1, entry=1, type=1)
    pair.node.deliver(event(pair.desired[0], "a", into), event(pair.desired[0], "b", half))
    pair.leader.positions.clear()
    pair.look()
    assert len(pair.copied()) == 1, "half of it is open by the log, and not to be listed proves nothing"
    pair.node.deliver(event(pair.desired[0], "c", rest))
    pair.look()
    assert not pair.copied()


def test_a_farm_that_is_started_again_copies_nothing_twice(world: World) -> None:
    pair = Pair(world)
    pair.start()
    for ticket in range(1, 6):
        pair.leader.put(ticket, 0.1)
        pair.follower.lose = 1
        pair.another_farm().run_once()
        world.clock.advance(seconds=1)
    for _ in range(3):
        pair.another_farm().run_once()
        world.clock.advance(seconds=4)
        world.run_loops()
    assert len(pair.copied()) == 5
    assert len(pair.follower.sent) == 5


def test_two_farms_that_look_at_once_copy_once(world: World) -> None:
    pair = Pair(world)
    pair.start()
    loops = [pair.another_farm() for _ in range(2)]
    for ticket in range(1, 9):
        pair.leader.put(ticket, 0.1)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda loop: loop.run_once(), loops))
    pair.look_for(3)
    assert len(pair.copied()) == 8
    assert len({key for key, _ in pair.follower.sent}) == len(pair.follower.sent) == 8


@pytest.mark.parametrize("side", [0, 1])
def test_accounts_that_net_are_refused_when_copying_is_to_begin(world: World, side: int) -> None:
    pair = Pair(world)
    world.door.terminals[pair.desired[side].terminal_id] = Netting()
    wish = {"leader_account_id": pair.leader_id, "follower_account_id": pair.follower_id}
    answer = pair.trader.call("POST", "/copiers", 409, wish)
    assert answer["code"] == "netting_account"
    assert ("that leads", "that follows")[side] in answer["detail"]
    assert "hedg" in answer["detail"]
    assert pair.trader.call("GET", "/copiers")["items"] == []


def test_a_netting_account_that_did_not_answer_at_first_stops_copying_before_anything_is_copied(world: World) -> None:
    pair = Pair(world)
    netting = pair.desired[0].terminal_id
    world.door.terminals[netting] = Netting()
    world.door.dead.add(netting)
    copier = pair.start(copy_open=True)
    world.door.dead.clear()
    pair.look_for(6)
    shown = pair.trader.call("GET", f"/copiers/{copier}")
    assert shown["state"] == "stopped"
    assert "nets its positions" in shown["reason"]
    assert not pair.follower.sent
