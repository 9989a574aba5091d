"""Our description of the API is that of the imported package: names, values, fields."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from mt5_bridge import contract
from mt5_bridge.codec import decode, encode
from mt5_bridge.contract import CONSTANTS, FUNCTIONS, STRUCTS
from mt5_bridge.structs import STRUCT_CLASSES
from tests.conformance.native.machine import WindowsMachine

DESCRIBE = """
import json, MetaTrader5 as mt5
names = [name for name in dir(mt5) if not name.startswith("_")]
print(json.dumps({
    "version": mt5.__version__,
    "author": mt5.__author__,
    "constants": {name: getattr(mt5, name) for name in names if isinstance(getattr(mt5, name), int)},
    "structs": {name: getattr(mt5, name).__match_args__ for name in names if isinstance(getattr(mt5, name), type)},
    "functions": [name for name in names if callable(getattr(mt5, name)) and not isinstance(getattr(mt5, name), type)],
}))
"""
ENCODE = """
import MetaTrader5 as mt5
from mt5_bridge.codec import encode
from mt5_bridge.contract import STRUCTS
def struct(name):
    return getattr(mt5, name)([
        struct("TradeRequest") if kind is tuple else kind(index) for index, (_, kind) in enumerate(STRUCTS[name])
    ])
print([encode(struct(name)) for name in STRUCTS] + [encode((struct("Tick"), struct("Tick")))])
"""


def run(machine: WindowsMachine, program: str) -> bytes:
    code, output, errors = machine.run("-c", program)
    assert code == 0, errors
    return output


@pytest.fixture(scope="module")
def package(machine: WindowsMachine) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(run(machine, DESCRIBE))
    return described


def test_it_is_the_version_that_the_contract_describes(package: dict[str, Any]) -> None:
    assert package["version"] == contract.PACKAGE_VERSION
    assert package["author"] == contract.PACKAGE_AUTHOR


def test_all_223_constants_have_its_values(package: dict[str, Any]) -> None:
    assert package["constants"] == CONSTANTS
    assert len(CONSTANTS) == 223


def test_all_35_functions_are_there_and_no_other(package: dict[str, Any]) -> None:
    assert sorted(package["functions"]) == sorted(FUNCTIONS)
    assert len(FUNCTIONS) == 35


def test_all_11_structs_have_its_256_fields_in_order(package: dict[str, Any]) -> None:
    assert package["structs"] == {name: [field for field, _ in fields] for name, fields in STRUCTS.items()}
    assert (len(STRUCTS), sum(map(len, STRUCTS.values()))) == (11, 256)


def test_its_link_belongs_to_the_process_and_not_to_a_module(machine: WindowsMachine) -> None:
    program = """
import sys, threading, MetaTrader5 as one
for name in [name for name in sys.modules if name.split(".")[0] == "MetaTrader5"]:
    del sys.modules[name]
import MetaTrader5 as two
thread = threading.Thread(target=two.account_info)
thread.start(); thread.join()
print(one is two, one.last_error())
"""
    assert run(machine, program).decode().strip() == "False (-10004, 'No IPC connection')"


def test_its_structs_cross_the_pipe_and_become_ours(machine: WindowsMachine) -> None:
    def struct(name: str) -> Any:
        return STRUCT_CLASSES[name](
            struct("TradeRequest") if kind is tuple else kind(index) for index, (_, kind) in enumerate(STRUCTS[name])
        )

    ours = [struct(name) for name in STRUCTS] + [(struct("Tick"), struct("Tick"))]
    theirs = ast.literal_eval(run(machine, ENCODE).decode())
    assert theirs == [encode(value) for value in ours]
    assert [decode(value) for value in theirs] == ours
