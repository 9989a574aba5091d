"""A bot carries out each step once, and follows an order whose answer was lost before it does anything else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.client import BridgeError, BridgeLost
from mt5_bridge.strategies import execution as execution_module
from mt5_bridge.strategies.base import Side, Target
from mt5_bridge.strategies.bot_files import BotConfig, BotReport
from mt5_bridge.strategies.execution import Execution
from tests.bridge_doubles import struct

LONG, SHORT, FLAT = Target(Side.LONG, 100, 200), Target(Side.SHORT), Target(None)


class Api:
    """What an execution uses of a terminal; `answers` are taken one by one by the sends."""

    def __init__(self, *answers: Any, held: Sequence[int] = ()) -> None:
        self.answers = list(answers)
        self.sent: dict[str, dict[str, Any]] = {}
        self.states: dict[str, list[str]] = {}
        self.unsettled = [0]
        self.given_up: list[str] = []
        self.held = [
            struct("TradePosition", ticket=n, type=side, magic=7, volume=0.1) for n, side in enumerate(held, 1)
        ]

    def positions_get(self, symbol: str) -> Any:
        return tuple(self.held)

    def symbol_info_tick(self, symbol: str) -> Any:
        return struct("Tick", bid=1.1, ask=1.2)

    def symbol_info(self, symbol: str) -> Any:
        return struct("SymbolInfo", point=0.0001, digits=4, filling_mode=2)

    def outcome(self, order_id: str) -> Any:
        states = self.states.get(order_id)
        if not states:
            return None
        return {"state": states.pop(0) if len(states) > 1 else states[0]}

    def give_up(self, order_id: str) -> Any:
        self.given_up.append(order_id)
        return self.outcome(order_id) or {"state": "not_executed"}

    def describe(self) -> dict[str, Any]:
        return {"unsettled": self.unsettled.pop(0) if len(self.unsettled) > 1 else self.unsettled[0]}

    def send_once(self, order_id: str, request: dict[str, Any]) -> Any:
        self.sent[order_id] = request
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer == 10009 and "position" in request:
            self.held = [position for position in self.held if position.ticket != request["position"]]
        elif answer == 10009:
            self.held.append(struct("TradePosition", ticket=99, type=request["type"], magic=7, volume=0.1))
        return None if answer is None else struct("OrderSendResult", retcode=answer)


@pytest.fixture
def execution(tmp_path: Path) -> Execution:
    config = BotConfig(
        bot_id="bot_1",
        revision=2,
        strategy="s",
        symbol="EURUSD",
        timeframe=1,
        volume=0.1,
        magic=7,
        parameters={},
        worker="unix:/x",
        token_file=tmp_path / "t",
        epoch=1,
        status_file=tmp_path / "s",
        log_file=tmp_path / "l",
        state_file=tmp_path / "m",
    )
    return Execution(config, BotReport(config), threading.Event())


def reach(execution: Execution, api: Any, target: Target) -> None:
    execution.carry_out(api, [target], "600")


def test_opening_has_stops_from_the_price_and_an_id_of_bot_bar_and_step(execution: Execution) -> None:
    api = Api(10009)
    reach(execution, api, LONG)
    ((order_id, request),) = api.sent.items()
    assert order_id == "bot_1:2:600:open:long"
    assert (request["price"], request["sl"], request["tp"], request["type_filling"]) == (1.2, 1.19, 1.22, 1)


def test_a_reversal_closes_first_and_then_opens(execution: Execution) -> None:
    api = Api(10009, 10009, held=[0])
    reach(execution, api, SHORT)
    assert list(api.sent) == ["bot_1:2:600:close:1", "bot_1:2:600:open:short"]
    assert api.sent["bot_1:2:600:close:1"]["type"] == 1


def test_what_fits_is_kept_and_a_second_one_closed(execution: Execution) -> None:
    api = Api(10009, held=[0, 0])
    reach(execution, api, LONG)
    assert list(api.sent) == ["bot_1:2:600:close:2"]


def test_flat_closes_everything(execution: Execution) -> None:
    api = Api(10009, 10009, held=[0, 1])
    reach(execution, api, FLAT)
    assert api.held == []


@pytest.mark.parametrize("refusal", [10019, BridgeError("guard_volume", "too much")])
def test_after_a_refusal_nothing_more_is_tried_in_this_bar(execution: Execution, refusal: Any) -> None:
    api = Api(refusal, held=[0])
    reach(execution, api, SHORT)
    assert list(api.sent) == ["bot_1:2:600:close:1"]


@pytest.mark.parametrize("answer", [None, 10012, BridgeError("outcome_unknown", "not known", retryable=True)])
@pytest.mark.parametrize(("final", "sends"), [("done", 2), ("not_executed", 1), ("refused", 1)])
def test_an_unclear_answer_is_followed_until_it_is_settled(
    execution: Execution, answer: Any, final: str, sends: int
) -> None:
    api = Api(answer, 10009, held=[0])
    sending = api.send_once

    def send(order_id: str, request: dict[str, Any]) -> Any:
        api.states[order_id] = ["sent", "unknown", final]
        return sending(order_id, request)

    api.send_once = send  # type: ignore[method-assign]
    reach(execution, api, SHORT)
    assert len(api.sent) == sends


def test_when_the_link_breaks_the_next_connection_waits_for_the_outcome(execution: Execution) -> None:
    with pytest.raises(BridgeLost):
        reach(execution, Api(BridgeLost("gone")), LONG)
    api = Api()
    states = ["sent", "unknown", "done"]
    api.states["bot_1:2:600:open:long"] = states
    execution.resume(api)  # type: ignore[arg-type]
    assert states == ["done"]
    api.states = {"bot_1:2:600:open:long": ["unknown", "never asked again"]}
    execution.resume(api)  # type: ignore[arg-type]
    assert len(api.states["bot_1:2:600:open:long"]) == 2


class TestAnOrderThatNeverCame:
    @pytest.fixture
    def execution(self, execution: Execution) -> Execution:
        with pytest.raises(BridgeLost):
            reach(execution, Api(BridgeLost("gone")), LONG)
        execution.resume(Api())  # type: ignore[arg-type]
        return execution

    def test_may_be_sent_again_under_its_own_id(self, execution: Execution) -> None:
        api = Api(10009)
        reach(execution, api, LONG)
        assert (list(api.sent), api.given_up) == (["bot_1:2:600:open:long"], [])

    def test_is_ruled_out_before_another_one_is_sent(self, execution: Execution) -> None:
        api = Api(10009)
        execution.carry_out(api, [LONG], "660")  # type: ignore[arg-type]
        assert (list(api.sent), api.given_up) == (["bot_1:2:660:open:long"], ["bot_1:2:600:open:long"])

    def test_and_comes_at_last_keeps_the_next_one_back(self, execution: Execution) -> None:
        api = Api(10009)
        api.states = {"bot_1:2:600:open:long": ["sent", "done"]}
        execution.carry_out(api, [LONG], "660")  # type: ignore[arg-type]
        assert api.sent == {}


def test_a_new_process_waits_for_what_the_one_before_it_had_under_way(execution: Execution) -> None:
    api = Api()
    api.unsettled = [1, 1, 0]
    execution.resume(api)  # type: ignore[arg-type]
    assert api.unsettled == [0]
    api.unsettled = [1, 0]
    execution.resume(api)  # type: ignore[arg-type]
    assert api.unsettled == [1, 0], "only on its first connection"


def test_it_does_not_wait_forever_for_an_outcome_that_nobody_knows(
    execution: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_module, "_FORMER_SECONDS", 0.0)
    api = Api()
    api.unsettled = [1]
    execution.resume(api)  # type: ignore[arg-type]
    assert "earlier order" in (tmp_path / "l").read_text()


def test_a_step_that_was_done_before_is_not_sent_again(execution: Execution) -> None:
    api = Api(held=[0])
    api.states = {"bot_1:2:600:close:1": ["refused"]}
    reach(execution, api, SHORT)
    assert api.sent == {}
