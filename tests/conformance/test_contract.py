"""The contract is the official package's, by its description and by the wheel itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mt5_bridge import contract
from tests.conformance.contract_facts import WheelError, counts, wheel_facts

SPEC = Path(__file__).parents[2].parent / "shared" / "mt5_api" / "spec.json"


def test_everything_in_the_description_is_in_the_contract() -> None:
    if not SPEC.exists():
        pytest.skip("the description of the API is not on this machine")
    for count in counts(json.loads(SPEC.read_text())):
        assert count.is_complete, count


@pytest.mark.rule("A1")
def test_the_wheel_s_own_constants_and_functions_are_those_of_the_contract() -> None:
    try:
        version, constants, functions = wheel_facts()
    except WheelError as error:
        pytest.skip(f"the official wheel cannot be had here: {error}")
    assert version == contract.PACKAGE_VERSION
    assert constants == contract.CONSTANTS
    assert functions == set(contract.FUNCTIONS)
