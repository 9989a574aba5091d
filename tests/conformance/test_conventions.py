"""Each choice among readings of the documentation can be made the other way, in one file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.simulated.engine.conventions import CHOICES, USUAL, Conventions, ConventionsError
from tests.conformance.stage import Stage
from tests.trading_desk import Desk

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "simulated_broker.md"
FOK, IOC = 0, 1
OTHER = (-9, "another text")


@pytest.mark.rule("M4")
@pytest.mark.parametrize("code", [10006, 10007, 10021])
@pytest.mark.parametrize("filling", [FOK, IOC])
def test_the_refusal_of_what_the_market_cannot_fill(code: int, filling: int) -> None:
    desk = Desk(liquidity=0.05, conventions={"no_volume_retcode": code})
    if filling == IOC:
        desk.deal(volume=0.05)
    assert desk.deal(volume=0.1, type_filling=filling).retcode == code


@pytest.mark.rule("M4", "K6")
@pytest.mark.parametrize(("word", "state"), [("canceled", 2), ("partial", 3), ("filled", 4)])
def test_the_state_of_an_order_whose_rest_was_dropped(word: str, state: int) -> None:
    desk = Desk(liquidity=0.05, conventions={"rest_state": word})
    assert desk.deal(volume=0.1).retcode == 10010
    assert (desk.last_order.state, desk.last_order.volume_current) == (state, 0.05)
    desk.pending(2, 1.09, 0.1, type_filling=IOC)
    desk.move((1.0898, 1.0899))
    assert (desk.last_order.state, desk.last_order.volume_current) == (state, 0.05)


@pytest.mark.rule("M4")
@pytest.mark.parametrize(("word", "waiting"), [("waits", 1), ("canceled", 0)])
def test_a_reached_order_that_the_market_cannot_fill(word: str, waiting: int) -> None:
    desk = Desk(liquidity=0.05, filling_mode=3, conventions={"reached_without_volume": word})
    desk.pending(2, 1.09, 0.1, type_filling=FOK)
    desk.move((1.0898, 1.0899))
    assert len(desk.orders()) == waiting
    assert desk.positions() == ()
    assert waiting or desk.last_order.state == 2


@pytest.mark.rule("M8")
@pytest.mark.parametrize(("word", "state"), [("expired", 6), ("canceled", 2)])
def test_the_state_of_what_the_day_s_end_drops(word: str, state: int) -> None:
    desk = Desk(order_gtc_mode=1, conventions={"day_end_state": word})
    desk.pending(2, 1.09)
    desk.wait(86_400)
    assert desk.last_order.state == state


@pytest.mark.rule("N3")
@pytest.mark.parametrize(("improves", "filled"), [(True, 1.0850), (False, 1.09)])
def test_a_limit_order_that_the_market_jumps_over(improves: bool, filled: float) -> None:
    desk = Desk(conventions={"limits_improve": improves})
    desk.pending(2, 1.09)
    desk.move((1.0849, 1.0850))
    assert desk.last_deal.price == filled


@pytest.mark.rule("N3")
@pytest.mark.parametrize(("slips", "filled"), [(True, 1.1150), (False, 1.11)])
def test_a_stop_order_that_the_market_jumps_over(slips: bool, filled: float) -> None:
    desk = Desk(conventions={"stops_slip": slips})
    desk.pending(4, 1.11)
    desk.move((1.1149, 1.1150))
    assert desk.last_deal.price == filled


@pytest.mark.rule("R8")
@pytest.mark.parametrize(
    ("choice", "bid", "usual", "level"), [("stops_slip", 1.05, 1.05, 1.08), ("limits_improve", 1.15, 1.15, 1.12)]
)
@pytest.mark.parametrize("wanted", [True, False])
def test_stops_that_the_market_jumps_over(choice: str, bid: float, usual: float, level: float, wanted: bool) -> None:
    desk = Desk(conventions={choice: wanted})
    desk.deal(sl=1.08, tp=1.12)
    desk.move((bid, bid + 0.0001))
    assert desk.last_deal.price == (usual if wanted else level)


@pytest.mark.rule("K4")
@pytest.mark.parametrize("shown", [True, False])
def test_the_deal_in_the_result_of_a_close_by(shown: bool) -> None:
    desk = Desk(conventions={"deal_in_close_by_result": shown})
    one, two = desk.deal(0), desk.deal(1)
    result = desk.send(action=10, position=one.order, position_by=two.order)
    assert result.retcode == 10009
    assert result.deal == (desk.account.deals[-2].ticket if shown else 0)


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("unselected_tick_error", lambda mt5: mt5.symbol_select("GBPUSD", False) and mt5.symbol_info_tick("GBPUSD")),
        ("bad_timeframe_error", lambda mt5: mt5.copy_rates_from_pos("EURUSD", 7, 0, 5)),
        ("book_not_added_error", lambda mt5: mt5.market_book_get("EURUSD")),
        ("bad_margin_error", lambda mt5: mt5.order_calc_margin(9, "EURUSD", 0.1, 1.1)),
        ("unknown_margin_symbol_error", lambda mt5: mt5.order_calc_margin(0, "NOSUCH", 0.1, 1.1)),
    ],
)
@pytest.mark.rule("D9", "E9", "G1", "T9")
def test_errors_that_no_source_tells(stages: Callable[..., Stage], name: str, ask: Callable[[Any], Any]) -> None:
    mt5 = stages(conventions={name: OTHER}).mt5
    assert ask(mt5) is None
    assert mt5.last_error() == OTHER


def test_every_choice_is_documented() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert [one.name for one in fields(Conventions) if f"| `{one.name}` |" not in text] == []


def test_the_usual_choices_are_among_those_that_there_are() -> None:
    assert all(getattr(USUAL, name) in choices for name, choices in CHOICES.items())


def test_a_file_makes_the_choices(tmp_path: Path) -> None:
    path = tmp_path / "conventions.json"
    path.write_text(json.dumps({"rest_state": "filled", "stops_slip": False, "bad_margin_error": [-9, "text"]}))
    chosen = Conventions.read(path)
    assert (chosen.rest_state, chosen.stops_slip, chosen.bad_margin_error) == ("filled", False, (-9, "text"))
    assert Conventions.read(tmp_path / "none.json") == USUAL


@pytest.mark.parametrize(
    "content",
    [
        {"rest_state": "gone"},
        {"no_volume_retcode": 10009},
        {"stops_slip": "no"},
        {"specified_day_end": True},
        {"bad_margin_error": 5},
        {"opening_checks": ["money"]},
        {"no_such": 1},
        [],
    ],
)
def test_a_choice_that_is_none_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "conventions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConventionsError):
        Conventions.read(path)
