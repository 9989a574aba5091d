"""Limits hold for new risk and never keep a trader from getting out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.guard import Guard, parse_guard, reduces
from tests.bridge_doubles import struct

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.5, "type": 0}


@pytest.mark.parametrize(
    ("guard", "code"),
    [
        (Guard(), None),
        (Guard(symbols=frozenset({"EURUSD"}), max_volume=0.5), None),
        (Guard(symbols=frozenset({"GBPUSD"})), "guard_symbol"),
        (Guard(max_volume=0.49), "guard_volume"),
        (Guard(trading=False), "guard_trading"),
    ],
)
@pytest.mark.parametrize("action", [1, 5])
def test_a_new_deal_or_order_outside_the_limits_is_refused(guard: Guard, code: str | None, action: int) -> None:
    refusal = guard.refusal(BUY | {"action": action}, reduces=False)
    assert (refusal[0] if refusal else None) == code


@given(st.sampled_from([6, 7, 8, 10]))
def test_changing_stops_and_removing_orders_always_passes(action: int) -> None:
    guard = Guard(symbols=frozenset(), max_volume=0.01, trading=False)
    assert guard.refusal(BUY | {"action": action}, reduces=False) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"type": 0}, False),
        ({"volume": 0.6}, False),
        ({"symbol": "GBPUSD"}, False),
        ({"position": 2}, False),
        ({"position": 0}, False),
        ({"action": 5}, False),
    ],
)
def test_only_an_opposite_deal_within_the_position_reduces_it(change: dict[str, Any], expected: bool) -> None:
    position = struct("TradePosition", ticket=1, symbol="EURUSD", type=0, volume=0.5)
    assert reduces(BUY | {"type": 1, "position": 1} | change, (position,)) is expected


@pytest.mark.parametrize(
    "data",
    [None, [], {"symbols": "EURUSD"}, {"symbols": [1]}, {"max_volume": 0}, {"max_volume": True}, {"trading": 1}],
)
def test_a_bad_configuration_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="guard"):
        parse_guard(data)
