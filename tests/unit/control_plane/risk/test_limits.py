"""How limits of a tenant and of an account come together, what nodes are told, and how far a kill switch has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.entitlements.decision import EVERYTHING, Entitlements
from control_plane.risk.limits import (
    NO_LIMITS,
    Limits,
    guard_of,
    limits_of_account,
    looser,
    plan_limits,
    strictest,
    utc_offsets,
)
from control_plane.risk.presets import PRESETS
from control_plane.risk.service import read_limits, stored
from control_plane.risk.state import (
    REPORT_FRESH,
    Facts,
    InForce,
    KillMode,
    KillScope,
    Subject,
    Switch,
    TargetState,
    in_force,
    judge,
)
from mt5_bridge.guard import parse_guard

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AMOUNTS = st.decimals("0.01", "100", places=2)
LIMITS: st.SearchStrategy[Limits] = st.fixed_dictionaries(
    {},
    optional={
        "max_symbols": st.integers(0, 5),
        "max_volume": AMOUNTS,
        "max_positions": st.integers(0, 5),
        "orders_per_minute": st.integers(0, 5),
        "equity_floor": AMOUNTS,
        "symbols": st.lists(st.sampled_from(["EURUSD", "GBPUSD", "USDJPY"]), max_size=3),
        "daily_loss": st.fixed_dictionaries({"unit": st.sampled_from(["percent", "money"]), "value": AMOUNTS}),
        "drawdown": st.fixed_dictionaries(
            {"unit": st.just("percent"), "value": AMOUNTS, "kind": st.sampled_from(["static", "trailing"])}
        ),
        "hours": st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(21, 40)).map(
                lambda each: {"day": each[0], "start_minute": each[1], "end_minute": each[2]}
            ),
            max_size=3,
        ),
        "on_breach": st.sampled_from(["stop_opening", "close_all"]),
    },
).map(Limits.model_validate)


@given(LIMITS, LIMITS)
def test_what_holds_is_never_looser_than_the_tenant_s_defaults(defaults: Limits, own: Limits) -> None:
    assert looser(strictest(defaults, own), defaults) == []


PAIRS = st.none() | st.frozensets(st.sampled_from(["EURUSD", "GBPUSD", "USDJPY"]))


@given(st.builds(Entitlements, pairs=PAIRS, max_symbols=st.none() | st.integers(0, 5)), LIMITS, LIMITS)
def test_no_limits_of_people_open_what_the_plan_does_not_have(
    held: Entitlements, defaults: Limits, own: Limits
) -> None:
    found = limits_of_account(held, defaults, own)
    assert looser(found, plan_limits(held)) == []
    assert looser(found, defaults) == []
    told = guard_of(found, InForce(), "", "UTC", NOW)
    assert held.pairs is None or (told.symbols is not None and set(told.symbols) <= held.pairs)
    assert held.max_symbols is None or (told.max_symbols is not None and told.max_symbols <= held.max_symbols)


@given(LIMITS, LIMITS)
def test_a_plan_with_everything_changes_no_limit(defaults: Limits, own: Limits) -> None:
    assert limits_of_account(EVERYTHING, defaults, own) == strictest(defaults, own)


@given(LIMITS)
def test_without_defaults_the_account_s_own_hold_and_nothing_gets_lost_on_the_way_to_the_bridge(own: Limits) -> None:
    assert strictest(NO_LIMITS, own) == own
    assert looser(own, own) == []
    guard = parse_guard(guard_of(own, InForce(), "", "Europe/Athens", NOW).model_dump(mode="json"))
    assert guard.max_volume == (None if own.max_volume is None else float(own.max_volume))
    assert (guard.daily_loss is None, guard.drawdown is None) == (own.daily_loss is None, own.drawdown is None)
    assert guard.free is (own.model_copy(update={"on_breach": "stop_opening"}) == NO_LIMITS)


@given(LIMITS)
def test_limits_are_kept_exactly(limits: Limits) -> None:
    class Row:
        def __init__(self) -> None:
            self.limits = stored(limits)

    assert read_limits(Row()) == limits  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda each: each.name)
def test_every_preset_limits_something(preset: Any) -> None:
    assert looser(NO_LIMITS, preset.limits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_volume": "0"},
        {"max_volume": "NaN"},
        {"daily_loss": {"unit": "percent", "value": "101"}},
        {"hours": [{"day": 0, "start_minute": 600, "end_minute": 600}]},
        {"pauses": [{"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}]},
        {"pauses": [{"start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00"}]},
        {"surprise": 1},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(wrong)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 30)))
def test_the_bridge_knows_the_broker_s_clock_without_data_of_time_zones(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC, microsecond=0)
    guard = parse_guard({"utc_offsets": [list(each) for each in utc_offsets("America/New_York+7", 2026)]})
    wall = moment.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=UTC) + timedelta(hours=7)
    assert guard.broker_time(moment.timestamp()) == wall.timestamp()


SWITCHES = st.builds(
    Switch,
    st.uuids().map(str),
    st.sampled_from(KillScope),
    st.sampled_from(["a", "b"]),
    st.sampled_from(KillMode),
)


@given(st.lists(SWITCHES, max_size=5), st.randoms())
def test_the_strictest_switch_counts_whatever_their_order(switches: list[Switch], random: Any) -> None:
    subject = Subject("a", "a", "a")
    mine = [each for each in switches if each.scope is KillScope.FLEET or each.subject_id == "a"]
    found = in_force(switches, subject)
    assert (found.mode is KillMode.CLOSE_ALL) is any(each.mode is KillMode.CLOSE_ALL for each in mine)
    assert (found.mode is None) is (not mine)
    shuffled = list(switches)
    random.shuffle(shuffled)
    assert in_force(shuffled, subject) == found
    if mine:
        assert in_force([each for each in switches if each is not mine[0]], subject).token != found.token


@given(
    st.builds(
        Facts,
        runs=st.booleans(),
        thrown_at=st.just(NOW - timedelta(hours=1)),
        reported_at=st.none() | st.integers(0, 100).map(lambda ago: NOW - timedelta(seconds=ago)),
        knows_switch=st.booleans(),
        flat=st.booleans(),
        positions=st.none() | st.integers(0, 2),
        orders=st.none() | st.integers(0, 2),
    ),
    st.sampled_from(KillMode),
)
def test_done_is_said_only_of_what_a_terminal_has_just_said_itself(facts: Facts, mode: KillMode) -> None:
    verdict = judge(facts, mode, NOW)
    if verdict.state is TargetState.DONE:
        assert facts.runs
        assert facts.knows_switch
        assert facts.reported_at is not None
        assert NOW - facts.reported_at <= REPORT_FRESH
        assert facts.flat or mode is KillMode.NO_NEW_ORDERS
        assert facts.orders == 0 or mode is KillMode.CLOSE_ALL
    assert verdict.note


def test_amounts_keep_their_decimals() -> None:
    assert Limits.model_validate({"max_volume": "0.10"}).max_volume == Decimal("0.10")
