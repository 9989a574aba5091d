"""A few dozen seeds in every run of the tests; `make simulate` plays thousands."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation.environment import simulated_environment
from tests.simulation.run import play_all
from tests.simulation.world import Result, play

_SEEDS = range(1, 25)
_PROCESSES = 2
_FIRST, _COUNT = 12, 2
"""Seeds with copies, long polls, a control plane that dies, and a full disk."""


@pytest.mark.timeout(600)
def test_that_no_seed_breaks_an_invariant() -> None:
    broken = {result.seed: result.broken for result in play_all(list(_SEEDS), _PROCESSES) if result.broken}
    assert broken == {}


def _start(hash_seed: str) -> subprocess.Popen[str]:
    command = ["tests.simulation.run", "--first", str(_FIRST), "--seeds", str(_COUNT), "--processes", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
    )


def _seeds(run: subprocess.Popen[str]) -> list[str]:
    """The lines with the fingerprints."""
    output, _ = run.communicate(timeout=300)
    return [line for line in output.splitlines() if line.startswith("seed ")]


@contextlib.contextmanager
def _busy_machine() -> Iterator[None]:
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


def test_that_a_seed_is_the_same_in_every_process_on_a_busy_machine_and_after_other_seeds() -> None:
    with _busy_machine():
        runs = [_start("1"), _start("4711")]
        one, other = [_seeds(run) for run in runs]
    assert len(one) == _COUNT
    assert one == other
    with simulated_environment():
        alone = play(_FIRST + _COUNT - 1)
    assert one[-1].split()[2] == alone.fingerprint


@pytest.fixture(scope="module")
def played() -> Result:
    with simulated_environment():
        return play(3)


def test_that_a_seed_has_faults_trades_and_a_happy_end(played: Result) -> None:
    assert played.faults["deals"] > 0
    assert any("FAULT" in line for line in played.trace)
    assert played.trace[-1].endswith("settled")
