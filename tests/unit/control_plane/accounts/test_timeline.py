"""What is written down of a terminal's life, and the uptime that follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.protocol.messages import DesiredTerminal, Phase, Reason
from tests.unit.control_plane.world import NodePlayer, Trader, World, observed, report

pytestmark = pytest.mark.both_databases
WHY = {"reason": "for a test"}


def timeline(trader: Trader, account: str, *kinds: str) -> list[tuple[str, str, str]]:
    """(actor, before, after), the oldest first."""
    query = "&".join(f"kind={kind}" for kind in kinds)
    items = trader.call("GET", f"/accounts/{account}/transitions?{query}")["items"]
    return [(each["actor"], each["before"], each["after"]) for each in reversed(items)]


def tell(world: World, node: NodePlayer, wanted: DesiredTerminal, phase: Phase, **changes: Any) -> None:
    """A report of this moment, with an answer of this moment."""
    now = world.clock.now()
    node.report = report(clock=now)
    node.sync(observed(wanted, phase=phase, **{"since": now, "last_answer_at": now, **changes}))


def keep_telling(world: World, node: NodePlayer, wanted: DesiredTerminal, seconds: int, phase: Phase) -> None:
    for _ in range(seconds // 30):
        world.clock.advance(seconds=30)
        tell(world, node, wanted, phase)


def shares(trader: Trader, account: str, window: str = "1h") -> dict[str, int]:
    windows = trader.call("GET", f"/accounts/{account}/uptime")["windows"]
    overall = next(each for each in windows if each["window"] == window)["overall"]
    return {name: overall[f"{name}_seconds"] for name in ("up", "down", "unknown", "off")}


class TestTimeline:
    def test_it_tells_who_wished_what_and_what_became_of_it(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, _ = world.ready_account(trader, node)
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        node.fetch()
        node.obey()
        assert timeline(trader, account, "intent") == [("user", "", "running"), ("user", "running", "stopped")]
        assert timeline(trader, account, "phase") == [("node", "absent", "ready"), ("node", "ready", "stopped")]
        assert timeline(trader, account, "place") == [
            ("farm", "", "reserved"),
            ("node", "reserved", "active"),
            ("farm", "active", "released"),
        ]
        assert timeline(trader, account, "service") == [("farm", "down", "up"), ("farm", "up", "down")]

    def test_each_step_says_where_why_and_in_words(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        tell(world, node, wanted, Phase.DEGRADED, reason=Reason.BROKER_UNREACHABLE, detail="No connection.")
        newest = trader.call("GET", f"/accounts/{account}/transitions?kind=phase&limit=1")["items"][0]
        assert (newest["node_name"], newest["reason"], newest["note"], newest["epoch"]) == (
            "node-1",
            "broker_unreachable",
            "No connection.",
            1,
        )
        assert newest["words"] == "The broker's server does not answer. We keep trying."

    def test_a_report_that_changes_nothing_adds_nothing(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        before = timeline(trader, account)
        keep_telling(world, node, wanted, 120, Phase.READY)
        assert timeline(trader, account) == before

    def test_pages_follow_each_other_without_gap_or_overlap(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        for phase in (Phase.LAUNCHING, Phase.READY) * 3:
            tell(world, node, wanted, phase)  # all at one moment
        whole = [each["id"] for each in trader.call("GET", f"/accounts/{account}/transitions")["items"]]
        paged: list[str] = []
        query = "?limit=2"
        while query:
            page = trader.call("GET", f"/accounts/{account}/transitions{query}")
            paged += [each["id"] for each in page["items"]]
            query = f"?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        assert paged == whole

    def test_it_is_nobody_elses(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, _ = world.ready_account(trader, node)
        stranger = world.trader("stranger@example.com")
        for what in ("transitions", "uptime"):
            assert stranger.call("GET", f"/accounts/{account}/{what}", 404)["code"] == "account_not_found"


class TestUptime:
    def test_time_is_counted_by_answers_not_by_the_phase(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        keep_telling(world, node, wanted, 600, Phase.READY)
        answered_at = world.clock.now()
        for _ in range(10):
            world.clock.advance(seconds=30)
            tell(world, node, wanted, Phase.READY, last_answer_at=answered_at)
        # The first of these reports still had an answer of half a minute ago.
        assert shares(trader, account) == {"up": 660, "down": 240, "unknown": 0, "off": 0}

    def test_time_in_which_the_control_plane_was_away_is_not_known(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        keep_telling(world, node, wanted, 300, Phase.READY)
        world.clock.advance(seconds=900)
        assert shares(trader, account) == {"up": 300, "down": 0, "unknown": 900, "off": 0}
        tell(world, node, wanted, Phase.READY)
        keep_telling(world, node, wanted, 300, Phase.READY)
        assert shares(trader, account) == {"up": 600, "down": 0, "unknown": 900, "off": 0}
        assert timeline(trader, account, "service")[-2:] == [("farm", "up", "unknown"), ("farm", "unknown", "up")]

    def test_what_its_owner_switched_off_does_not_count_against_it(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        keep_telling(world, node, wanted, 300, Phase.READY)
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        node.fetch()
        tell(world, node, wanted, Phase.STOPPED)
        world.clock.advance(seconds=1200)
        assert shares(trader, account) == {"up": 300, "down": 0, "unknown": 0, "off": 1200}

    def test_waiting_for_a_place_counts_against_it(self, world: World, trader: Trader) -> None:
        account = trader.connect()["id"]
        world.clock.advance(seconds=600)
        world.run_loops()
        assert shares(trader, account) == {"up": 0, "down": 600, "unknown": 0, "off": 0}

    def test_a_place_that_is_given_up_while_nobody_knows_is_down_from_then_on(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        keep_telling(world, node, wanted, 300, Phase.READY)
        operator = world.operator()
        world.let_pass(400)
        operator.call("POST", f"/nodes/{node.node_id}/confirm-dead", 200, WHY)
        world.let_pass(120)
        assert shares(trader, account) == {"up": 300, "down": 120, "unknown": 400, "off": 0}

    def test_market_hours_leave_the_weekend_out(self, world: World) -> None:
        world.clock.advance(days=5)  # Saturday, when the week of brokers has ended eleven hours ago
        trader, node = world.trader(), world.node()
        account, wanted = world.ready_account(trader, node)
        keep_telling(world, node, wanted, 300, Phase.READY)
        shown = trader.call("GET", f"/accounts/{account}/uptime")
        day = next(each for each in shown["windows"] if each["window"] == "1h")
        assert (day["overall"]["up_seconds"], day["market_hours"]["up_seconds"]) == (300, 0)
        assert (shown["time_zone"], shown["time_zone_known"]) == ("America/New_York+7", False)


class TestStatus:
    def test_it_has_words_and_an_age(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        tell(world, node, wanted, Phase.READY)
        world.clock.advance(seconds=3)
        shown = trader.call("GET", f"/accounts/{account}")["terminal"]
        assert (shown["short"], shown["status"]) == ("Connected", "Connected; last answer 3 s ago")

    def test_one_that_has_never_answered_has_no_age(self, trader: Trader) -> None:
        account = trader.connect()["id"]
        assert trader.call("GET", f"/accounts/{account}")["terminal"]["status"] == "Waiting for a place"
