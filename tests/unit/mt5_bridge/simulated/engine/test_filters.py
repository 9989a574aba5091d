"""Group filters: rules D2 to D4."""

from __future__ import annotations

import pytest

from mt5_bridge.simulated.engine.filters import matches_group, matches_mask


@pytest.mark.parametrize(
    ("name", "mask", "expected"),
    [
        ("EURUSD", "EURUSD", True),
        ("EURUSD", "EUR", False),
        ("EURUSD", "EUR*", True),
        ("EURUSD", "*USD", True),
        ("EURUSD", "*RUS*", True),
        ("EURUSD", "E*D", True),
        ("EURUSD", "*", True),
        ("", "*", True),
        ("EURUSD", "eur*", False),
        ("EURUSD", "EUR?SD", False),
        ("AAAB", "*AAB*", False),  # the package's matcher does not go back
    ],
)
def test_d4_masks(name: str, mask: str, expected: bool) -> None:
    assert matches_mask(name, mask) is expected


@pytest.mark.parametrize(
    ("name", "group", "expected"),
    [
        ("EURUSD", "*USD*,!EUR*", False),
        ("GBPUSD", "*USD*,!EUR*", True),
        ("GBPUSD", "!EUR*", False),
        ("EURUSD", "", False),
        ("EURUSD", " EURUSD , GBPUSD ", True),
        ("", "*,!*EUR*", True),
        ("EURUSD", "!EUR*,*", False),
    ],
)
def test_d3_an_exclusion_wins_and_something_must_include(name: str, group: str, expected: bool) -> None:
    assert matches_group(name, group) is expected
