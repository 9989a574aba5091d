"""The API as data agrees with the description of the official package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge import contract
from mt5_bridge.client import MetaTrader5

SPEC = Path(__file__).parents[4] / "shared" / "mt5_api" / "spec.json"


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    if not SPEC.exists():
        pytest.skip("the description of the API is not on this machine")
    data: dict[str, Any] = json.loads(SPEC.read_text())
    return data


def test_every_constant_has_the_official_value(spec: dict[str, Any]) -> None:
    assert spec["constants"] == contract.CONSTANTS


def test_every_function_exists_and_takes_arguments_in_the_official_way(spec: dict[str, Any]) -> None:
    styles = {
        "METH_VARARGS": contract.Style.POSITIONAL,
        "METH_VARARGS|METH_KEYWORDS": contract.Style.KEYWORDS,
        "METH_NOARGS": contract.Style.NONE,
    }
    expected = {name: styles[flag] for flag, names in spec["module_flags"].items() for name in names}
    expected |= dict.fromkeys(("Buy", "Sell", "Close"), contract.Style.PYTHON)
    assert {name: function.style for name, function in contract.FUNCTIONS.items()} == expected
    assert set(contract.FUNCTIONS) == {function["name"] for function in spec["functions"]}


def test_every_struct_has_the_official_fields_in_order(spec: dict[str, Any]) -> None:
    names = {kind: [field for field, _ in fields] for kind, fields in spec["structs"].items()}
    assert {kind: [field for field, _ in fields] for kind, fields in contract.STRUCTS.items()} == names


def test_arrays_have_the_official_dtypes(spec: dict[str, Any]) -> None:
    assert {key: [list(field) for field in fields] for key, fields in contract.DTYPES.items()} == spec["arrays"]


def test_error_texts_are_the_official_ones(spec: dict[str, Any]) -> None:
    assert {str(code): list(texts) for code, texts in contract.ERROR_TEXTS.items()} == spec["error_messages"]


def test_the_client_has_everything_that_the_package_has() -> None:
    for name in (*contract.FUNCTIONS, *contract.CONSTANTS, *contract.STRUCTS, "__version__", "__author__"):
        assert hasattr(MetaTrader5, name), name
