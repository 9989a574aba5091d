"""Backtests: what can be asked for, how they run, how they are called off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from control_plane.backtests import repository
from control_plane.backtests.state import BacktestState
from control_plane.jobs.state import JobKind
from mt5_bridge.structs import RATES_DTYPE
from tests.tenants import BACKTEST
from tests.unit.control_plane.world import FakeTerminal, NodePlayer, Trader, World

pytestmark = pytest.mark.both_databases


@pytest.fixture
def account(world: World, trader: Trader, node: NodePlayer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ready account whose terminal has bars that wander."""
    plain = FakeTerminal.symbol_info

    def symbol_info(self: FakeTerminal, symbol: str) -> Any:
        found = plain(self, symbol)
        if found is None:
            return None
        known = {"trade_contract_size": 100_000.0, "currency_base": "EUR", "currency_profit": "USD"}
        return type(found)((found._asdict() | known | {"currency_margin": "EUR"}).values())

    def bars(self: FakeTerminal, symbol: str, timeframe: int, start: int, count: int) -> Any:
        closes = 1.1 + np.cumsum(np.random.default_rng(5).integers(-9, 10, count)) / 1e5
        found = np.zeros(count, RATES_DTYPE)
        found["time"] = 1_700_000_040 + 60 * np.arange(count)
        found["open"] = found["close"] = closes
        found["high"], found["low"] = closes + 5e-5, closes - 5e-5
        found["tick_volume"], found["spread"] = 4, 10
        return found

    monkeypatch.setattr(FakeTerminal, "symbol_info", symbol_info)
    monkeypatch.setattr(FakeTerminal, "copy_rates_from_pos", bars)
    account_id, wanted = world.ready_account(trader, node)
    node.make_ready(wanted)
    return account_id


def asked(trader: Trader, account: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = trader.call("POST", "/backtests", 202, {**BACKTEST, "account_id": account, **changes})
    return found


def test_a_run_has_figures_deals_and_a_curve(world: World, trader: Trader, account: str) -> None:
    backtest = asked(trader, account)
    assert (backtest["state"], backtest["progress"]) == ("queued", 0.0)
    trader.call("GET", f"/backtests/{backtest['id']}/report", 404)
    world.farm.backtest_jobs.run(backtest["id"])
    shown = trader.call("GET", f"/backtests/{backtest['id']}")
    assert (shown["state"], shown["progress"], shown["problem"]) == ("done", 1.0, "")
    content = trader.call("GET", f"/backtests/{backtest['id']}/report")["content"]
    assert shown["summary"]["trades"] == content["statistics"]["trades"] > 0
    assert content["deals"]
    assert content["data"]["bars"] == pytest.approx(200, abs=1)


def test_a_search_ranks_and_says_what_that_is_worth(world: World, trader: Trader, account: str) -> None:
    ranges = {"fast": {"first": 3, "last": 6, "step": 3}}
    backtest = asked(trader, account, ranges=ranges)
    assert backtest["ranges"] == {"fast": [3, 6]}
    world.farm.backtest_jobs.run(backtest["id"])
    content = trader.call("GET", f"/backtests/{backtest['id']}/report")["content"]
    assert content["tried"] == 2
    assert [trial["parameters"]["slow"] for trial in content["trials"]] == [20, 20]
    assert "luck" in content["note"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"strategy": "nope"}, "strategy"),
        ({"timeframe": "M7"}, "timeframe"),
        ({"parameters": {"fast": 2.5}}, "parameters.fast"),
        ({"ranges": {"nope": {"first": 1, "last": 2, "step": 1}}}, "ranges.nope"),
        ({"ranges": {"fast": {"first": 2, "last": 1, "step": 1}}}, "ranges.fast"),
        ({"ranges": {"fast": {"first": 30, "last": 40, "step": 1}}}, "ranges"),
        ({"walk_steps": 3}, "walk_steps"),
        ({"bars": 10}, "bars"),
    ],
)
def test_what_cannot_work_is_refused_by_name(trader: Trader, account: str, change: dict[str, Any], field: str) -> None:
    problem = trader.call("POST", "/backtests", 422, {**BACKTEST, "account_id": account, **change})
    assert problem["errors"][0]["field"] == field


def test_one_that_is_called_off_before_its_turn_never_runs(world: World, trader: Trader, account: str) -> None:
    backtest = asked(trader, account)["id"]
    assert trader.call("POST", f"/backtests/{backtest}/cancel", 202)["cancelling"]
    trader.call("DELETE", f"/backtests/{backtest}", 409)
    world.farm.backtest_jobs.run(backtest)
    assert trader.call("GET", f"/backtests/{backtest}")["state"] == "cancelled"
    trader.call("DELETE", f"/backtests/{backtest}", 204)
    trader.call("GET", f"/backtests/{backtest}", 404)


def test_a_sixth_at_once_has_to_wait(trader: Trader, account: str) -> None:
    for _ in range(5):
        asked(trader, account)
    trader.call("POST", "/backtests", 429, {**BACKTEST, "account_id": account})


def test_one_whose_process_is_gone_is_taken_up_again_and_given_up_at_last(
    world: World, trader: Trader, account: str
) -> None:
    backtest = asked(trader, account)["id"]
    jobs = world.farm.backtest_jobs
    for attempt in range(1, 4):
        assert jobs._claim(backtest) is not None
        world.clock.advance(seconds=90)
        jobs.run_once()
        shown = trader.call("GET", f"/backtests/{backtest}")
        assert shown["state"] == ("queued" if attempt < 3 else "failed")
    assert "again and again" in shown["problem"]


def test_a_lost_job_is_put_again(world: World, trader: Trader, account: str) -> None:
    backtest = asked(trader, account)["id"]
    world.clock.advance(minutes=11)
    world.farm.backtest_jobs.run_once()
    with world.farm.database.write_as_system() as session:
        row = repository.held(session, backtest)
        assert row is not None
        assert row.alive_until == world.clock.now() > row.created_at + timedelta(minutes=10)
        assert row.state == BacktestState.QUEUED
    assert JobKind.RUN_BACKTEST in world.farm.job_runner._handlers


def test_a_terminal_that_cannot_answer_is_said(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    node.sync()
    backtest = asked(trader, account, symbol="NOPE")["id"]
    world.farm.backtest_jobs.run(backtest)
    shown = trader.call("GET", f"/backtests/{backtest}")
    assert shown["state"] == "failed"
    assert shown["problem"]
