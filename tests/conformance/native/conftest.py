"""The official package under Wine, asked once for everything that the tests compare."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mt5_bridge.backends.native import NativeBackend
from provisioning.wine.prefix import stop
from provisioning.wine.tools import WineError
from tests.conformance.native.cases import all_cases, with_earlier_call
from tests.conformance.native.differences import Outcome
from tests.conformance.native.machine import WindowsMachine, windows_program
from tests.conformance.native.random_cases import chosen_seed, random_cases


@pytest.fixture(scope="session")
def machine() -> Iterator[WindowsMachine]:
    try:
        machine = WindowsMachine.make(lambda sentence: sys.stderr.write(f"{sentence}\n"))
    except WineError as error:
        pytest.skip(f"the official package cannot run here: {error}")
    yield machine
    stop(machine.prefix)


@pytest.fixture(scope="session")
def official(machine: WindowsMachine) -> dict[str, Outcome]:
    """What the official package says to every case."""
    expressions = [expression for group in all_cases().values() for expression in group]
    outcomes = machine.probe([with_earlier_call(expression) for expression in expressions])
    return dict(zip(expressions, outcomes, strict=True))


@pytest.fixture(scope="session")
def seed() -> int:
    """Of the random cases: the one in MT5FARM_SEED, which a failing test names, or another each time."""
    return chosen_seed()


@pytest.fixture(scope="session")
def official_at_random(machine: WindowsMachine, seed: int) -> dict[str, Outcome]:
    """What the official package says to calls drawn at random."""
    expressions = random_cases(seed)
    outcomes = machine.probe([with_earlier_call(expression) for expression in expressions])
    return dict(zip(expressions, outcomes, strict=True))


@pytest.fixture
def native(machine: WindowsMachine) -> Iterator[NativeBackend]:
    with contextlib.closing(NativeBackend(machine.backend_options)) as backend:
        yield backend


@pytest.fixture(scope="session")
def silent_program(machine: WindowsMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A terminal64.exe that starts and never answers; a Windows path. What is left of it is ended."""
    yield windows_program(tmp_path_factory.mktemp("silent"), "terminal64.exe", "Sleep(INFINITE);")
    subprocess.run(
        [str(machine.wine), "taskkill.exe", "/f", "/im", "terminal64.exe"],
        env=os.environ | machine.environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
