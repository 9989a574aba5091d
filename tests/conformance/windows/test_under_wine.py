"""Runs this folder's suite, which here ran on the double, on Windows' own calls in the Windows Python under Wine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.wine.prefix import windows_path
from provisioning.wine.tools import WineError
from tests.conformance.windows.wine_machine import WineMachine, compile_stand_in, wine_machine

HERE = Path(__file__).parent
KNOWN_GAPS = {
    "Wine takes the limits of a job and keeps none": 1,
    "Wine lets a job have any number of processes": 1,
    "Wine has no streams of files": 1,
}


@pytest.fixture(scope="module")
def machine() -> Iterator[WineMachine]:
    try:
        with wine_machine() as machine:
            yield machine
    except WineError as error:
        pytest.skip(f"Windows' calls cannot be tested here: {error}")


@pytest.mark.timeout(600)
def test_windows_own_calls_pass_the_same_suite(machine: WineMachine, tmp_path: Path) -> None:
    stand_in = compile_stand_in(tmp_path)
    code, output = machine.run(
        "-m", "pytest", "-c", "tests/conformance/windows/wine.ini", "--rootdir", windows_path(HERE.parents[2]),
        "--confcutdir", windows_path(HERE), windows_path(HERE),
        seconds=240, MT5FARM_STAND_IN=windows_path(stand_in),
    )  # fmt: skip
    assert code == 0, output
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None
    assert int(passed[1]) >= 57, output
    skipped = {reason.strip(): int(count) for count, reason in re.findall(r"SKIPPED \[(\d+)\] [^:]+:\d+:(.*)", output)}
    assert skipped == KNOWN_GAPS
