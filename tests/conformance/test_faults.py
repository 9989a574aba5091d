"""Faults on demand: what goes wrong, for whom, when, and what it leaves behind."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mt5_bridge.simulated.faults import FaultError, FaultKind, FaultPlan, FaultRule
from mt5_bridge.simulated.link import RemoteError
from tests.conformance.stage import LOGIN, PASSWORD, SERVER, Stage, deal

OTHER = 5002


def test_a_requote_and_a_rejection_do_nothing(stage: Stage) -> None:
    mt5 = stage.mt5
    for kind, code in (("requote", 10004), ("reject", 10006)):
        stage.admin.add_fault(kind)
        assert mt5.order_send(deal(mt5)).retcode == code
        assert (mt5.positions_total(), mt5.history_orders_total(0, 2**31 - 1)) == (0, 0)
    assert mt5.order_send(deal(mt5)).retcode == 10009


def test_one_fault_a_kind_strikes_a_request(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.add_fault("reject", retcode=10011)
    stage.admin.add_fault("reject", retcode=10024, after=1)
    codes = [mt5.order_send(deal(mt5)).retcode for _ in range(4)]
    assert codes == [10011, 10009, 10024, 10009]
    assert mt5.positions_total() == 2


def test_a_partial_fill_follows_the_filling_policy(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.add_fault("partial", fraction=0.4, times=2)
    result = mt5.order_send(deal(mt5, volume=0.5))
    assert (result.retcode, result.volume) == (10010, 0.2)
    assert mt5.order_send(deal(mt5, volume=0.5, type_filling=0)).retcode == 10006
    assert mt5.positions_get()[0].volume == 0.2


def test_a_slow_answer_holds_up_only_its_own_terminal(stage: Stage) -> None:
    stage.admin.create_account(OTHER, password=PASSWORD)
    stage.admin.add_fault("slow", login=LOGIN, function="account_info", seconds=1.0)
    answers: list[Any] = []
    slow = threading.Thread(target=lambda: answers.append(stage.mt5.account_info()))
    slow.start()
    assert stage.admin.status()["server"] == SERVER
    assert not answers
    slow.join(10)
    assert answers[0].login == LOGIN


def test_an_answer_lost_after_the_fill_leaves_a_position(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.add_fault("lost_answer", function="order_send")
    assert mt5.order_send(deal(mt5, magic=99)) is None
    assert mt5.last_error() == (-10002, "IPC recv failed")
    assert mt5.initialize() is True
    assert [position.magic for position in mt5.positions_get()] == [99]


def test_a_link_lost_after_the_fill_is_settled_by_the_terminal(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.add_fault("lost_link", function="order_send")
    result = mt5.order_send(deal(mt5))
    assert result.retcode == 10009
    assert [position.ticket for position in mt5.positions_get()] == [result.order]


def test_a_disconnect_comes_before_the_request_is_looked_at(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.add_fault("disconnect", function="order_send", seconds=0.3)
    assert mt5.order_send(deal(mt5)).retcode == 10031
    assert mt5.positions_get() == ()
    assert mt5.terminal_info().connected


def test_a_wedged_call_holds_its_program_and_no_other(stage: Stage) -> None:
    stage.admin.add_fault("wedged", function="account_info", seconds=600.0)
    stuck = threading.Thread(target=stage.mt5.account_info, daemon=True)
    stuck.start()
    stage.until(lambda: stage.admin.faults()[0][3] == 1)
    assert stage.program().account_info().login == LOGIN
    assert stuck.is_alive()
    stage.terminal.stop()
    stuck.join(10)
    assert not stuck.is_alive()


def test_the_wrong_account_answers(stage: Stage) -> None:
    stage.admin.create_account(OTHER, password=PASSWORD, balance=1.0)
    stage.admin.add_fault("wrong_account", login=LOGIN, other=OTHER, times=0)
    assert (stage.mt5.account_info().login, stage.mt5.account_info().balance) == (OTHER, 1.0)
    stage.admin.clear_faults()
    assert stage.mt5.account_info().login == LOGIN


def test_somebody_else_logs_in(stage: Stage) -> None:
    stage.admin.add_fault("double_login", function="positions_get")
    stage.mt5.positions_get()
    stage.until(lambda: "logged in from another place" in _journal(stage))
    stage.until(lambda: stage.mt5.terminal_info().connected)


def _journal(stage: Stage) -> str:
    return "".join(path.read_text() for path in (stage.folder / "t" / "logs").glob("*.log"))


def test_two_terminals_of_one_account_are_counted(stage: Stage) -> None:
    stage.start_terminal("second")
    assert stage.admin.status()["sessions"] == {str(LOGIN): 2}


def test_the_broker_restarts_from_its_disk(stage: Stage) -> None:
    mt5 = stage.mt5
    kept = mt5.order_send(deal(mt5)).order
    before = stage.broker
    stage.admin.restart(0.2)
    stage.until(lambda: stage.broker is not before)
    stage.until(lambda: mt5.terminal_info().connected)
    assert [position.ticket for position in mt5.positions_get()] == [kept]
    assert mt5.order_send(deal(mt5)).order == kept + 1


def test_a_seed_repeats_the_same_faults() -> None:
    def struck(seed: int) -> list[bool]:
        plan = FaultPlan()
        plan.add(FaultRule(FaultKind.REJECT, chance=0.3, seed=seed, times=0))
        return [bool(plan.strike(LOGIN, "order_send", {})) for _ in range(200)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 30 < sum(struck(1)) < 90


@pytest.mark.parametrize(
    ("rule", "request_", "meets"),
    [
        ({"login": OTHER}, {}, False),
        ({"login": LOGIN, "symbol": "EURUSD"}, {"symbol": "EURUSD"}, True),
        ({"symbol": "GBPUSD"}, {"symbol": "EURUSD"}, False),
        ({"action": 8}, {"action": 1}, False),
        ({"action": 1}, {"action": 1}, True),
    ],
)
def test_a_rule_says_what_it_meets(rule: dict[str, Any], request_: dict[str, Any], meets: bool) -> None:
    assert FaultRule.of({"kind": "reject", **rule}).meets(LOGIN, "order_send", request_) is meets
    assert not FaultRule.of({"kind": "reject", **rule}).meets(LOGIN, "account_info", request_)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"kind": "fire"},
        {"kind": "reject", "colour": 1},
        {"kind": "slow", "chance": 2.0},
        {"kind": "slow", "seconds": -1.0},
        {"kind": "reject", "retcode": 10005},
    ],
)
def test_rules_that_make_no_sense_are_refused(stage: Stage, rule: dict[str, Any]) -> None:
    with pytest.raises(FaultError):
        FaultRule.of(rule)
    with pytest.raises(RemoteError):
        stage.admin.add_fault(rule.get("kind", ""), **{name: value for name, value in rule.items() if name != "kind"})


def test_faults_are_listed_and_cleared(stage: Stage) -> None:
    first = stage.admin.add_fault("slow", login=OTHER)
    second = stage.admin.add_fault("reject", after=1)
    stage.mt5.order_send(deal(stage.mt5))
    assert stage.admin.faults() == ((first, "slow", 0, 0), (second, "reject", 1, 0))
    assert stage.admin.clear_faults(first) == 1
    assert stage.admin.clear_faults() == 1


def test_accounts_and_symbols_refuse_settings_they_do_not_have(stage: Stage) -> None:
    for changes in ({"balance": 1.0}, {"leverage": "high"}, {"colour": 1}):
        with pytest.raises(RemoteError):
            stage.admin.configure_account(LOGIN, **changes)
    with pytest.raises(RemoteError):
        stage.admin.set_symbol("EURUSD", colour=1)
    stage.admin.set_symbol("EURUSD", trade_mode=3)
    assert stage.mt5.order_send(deal(stage.mt5)).retcode == 10044
    assert stage.mt5.symbol_info("EURUSD").trade_mode == 3
