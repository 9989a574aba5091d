"""The simulated and the native backend answer as the official package does, wherever no terminal is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mt5_bridge.backends.native import NativeBackend
from mt5_bridge.backends.simulated import SimulatedBackend
from mt5_bridge.client import MetaTrader5
from tests.bridge_doubles import TOKEN, StubBackend, running_worker
from tests.conformance.native.cases import all_cases, with_earlier_call
from tests.conformance.native.differences import LEFT, Difference, Outcome, aspects
from tests.conformance.native.facade import Package
from tests.conformance.native.probe import outcome

CASES = all_cases()


def simulated_outcome(expression: str) -> Outcome:
    """Of the simulated backend with no terminal behind it."""
    backend = SimulatedBackend("unix:/nowhere/ipc")
    earlier = "mt5.version()" if "initialize" in expression else "mt5.initialize()"
    return outcome(Package(backend), expression, earlier)


def explanations(expression: str, official: Outcome) -> list[tuple[str, list[Difference]]]:
    """Each aspect in which the simulated backend differs, as a text, and what explains it."""
    return [
        (
            f"{expression}: {aspect} is {theirs!r}, here {ours!r}",
            [known for known in LEFT if known.explains(expression, aspect, theirs, ours)],
        )
        for aspect, theirs, ours in aspects(official, simulated_outcome(expression))
    ]


@pytest.mark.parametrize("group", CASES)
def test_the_simulated_backend_answers_as_the_package(group: str, official: dict[str, Outcome]) -> None:
    found = [pair for expression in CASES[group] for pair in explanations(expression, official[expression])]
    assert [text for text, known in found if not known] == []


def test_it_does_so_for_calls_drawn_at_random(official_at_random: dict[str, Outcome], seed: int) -> None:
    found = [pair for expression, theirs in official_at_random.items() for pair in explanations(expression, theirs)]
    assert [text for text, known in found if not known] == [], f"to repeat it: MT5FARM_SEED={seed}"


def test_every_known_difference_is_still_there(official: dict[str, Outcome]) -> None:
    used = {
        known for expression, theirs in official.items() for _, all_known in explanations(expression, theirs)
        for known in all_known
    }  # fmt: skip
    assert [known.reason for known in LEFT if known not in used] == []


@pytest.fixture
def client() -> Iterator[MetaTrader5]:
    """A program's own object for a farm terminal, which has ended its link."""
    identity: dict[str, Any] = {"token": TOKEN, "scope": "trade", "epoch": 7, "principal": "user:usr_1"}
    with running_worker(StubBackend()) as worker, MetaTrader5(worker.address, **identity) as mt5:
        mt5.shutdown()
        yield mt5


def test_the_client_answers_as_the_package_does(client: MetaTrader5, official: dict[str, Outcome]) -> None:
    wrong = []
    for group, expressions in CASES.items():
        for expression in expressions:
            theirs = official[expression]
            if "initialize" in expression and "(-2, " not in theirs["last_error"]:
                continue  # a farm terminal is there already
            ours = outcome(client, *with_earlier_call(expression))
            wrong += [
                f"{group}: {expression}: {aspect} is {said!r}, here {mine!r}"
                for aspect, said, mine in aspects(theirs, ours)
                if not any(known.explains(expression, aspect, said, mine) for known in LEFT)
            ]
    assert wrong == []


def crosses_the_pipe(expression: str) -> bool:
    """Whether it is made of values that a worker hands to its backend."""
    return not any(name in expression for name in ("np.", "datetime(", "date(", "timedelta(", "Decimal", "Fraction"))


def test_the_native_backend_answers_as_the_package_does(native: NativeBackend, official: dict[str, Outcome]) -> None:
    package = Package(native)
    cases = [(group, expression) for group, expressions in CASES.items() for expression in expressions]
    asked, wrong = 0, []
    for group, expression in cases:
        if group.startswith("struct") or not crosses_the_pipe(expression):
            continue
        ours = outcome(package, *with_earlier_call(expression))
        if ours.get("raises", "").startswith("CodecError"):
            continue
        asked += 1
        wrong += [
            f"{expression}: {aspect} is {theirs!r}, here {mine!r}"
            for aspect, theirs, mine in aspects(official[expression], ours)
            if not any(known.explains(expression, aspect, theirs, mine) for known in LEFT)
        ]
    assert wrong == []
    assert asked > 3000
