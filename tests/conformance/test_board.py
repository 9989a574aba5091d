"""Ticks that a terminal reads from the broker's board are those that it would be told (rules D9, B17)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.stage import Stage


@pytest.fixture
def asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Functions that the broker has been asked since."""
    told: list[str] = []
    calls = stage.server._calls
    original = calls.call

    def call(login: int, function: str, *rest: Any, **named: Any) -> Any:
        told.append(function)
        return original(login, function, *rest, **named)

    monkeypatch.setattr(calls, "call", call)
    return told


def _tick(stage: Stage) -> Any:
    return stage.mt5.symbol_info_tick("EURUSD")


def test_a_tick_is_there_as_soon_as_the_market_has_moved_and_nobody_is_asked(stage: Stage, asked: list[str]) -> None:
    stage.mt5.symbol_select("EURUSD", True)
    asked.clear()
    for step in range(50):
        stage.tick(1.2 + step / 1e4, 1.3)
        assert _tick(stage).bid == 1.2 + step / 1e4
    assert not asked


def test_it_is_what_the_broker_tells(stage: Stage, asked: list[str]) -> None:
    stage.mt5.symbol_select("EURUSD", True)
    stage.tick(1.2, 1.3)
    read = _tick(stage)
    stage.admin.add_fault("slow", function="account_info", times=0)
    assert _tick(stage) == read
    assert "symbol_info_tick" in asked


def test_ordered_faults_meet_ticks_as_well(stage: Stage, asked: list[str]) -> None:
    stage.mt5.symbol_select("EURUSD", True)
    stage.admin.add_fault("lost_answer", function="symbol_info_tick")
    assert _tick(stage) is None
    assert stage.mt5.last_error()[0] == -10002
    stage.admin.clear_faults()
    assert stage.mt5.initialize()
    asked.clear()
    assert _tick(stage) is not None
    assert not asked


@pytest.mark.rule("D9")
def test_an_unselected_symbol_is_not_read_from_the_board(stage: Stage) -> None:
    stage.mt5.symbol_select("GBPUSD", False)
    assert stage.mt5.symbol_info_tick("GBPUSD") is None
    assert stage.mt5.last_error() == (-4, "Terminal: Not found")


@pytest.mark.rule("B17")
def test_a_broker_that_has_gone_leaves_its_last_tick(stage: Stage) -> None:
    stage.mt5.symbol_select("EURUSD", True)
    stage.tick(1.25, 1.26)
    last = _tick(stage)
    stage.admin.restart(seconds=2.0)
    stage.until(lambda: not stage.mt5.terminal_info().connected)
    assert _tick(stage) == last
    stage.until(lambda: stage.mt5.terminal_info().connected)
    stage.tick(1.35, 1.36)
    assert _tick(stage).bid == 1.35
