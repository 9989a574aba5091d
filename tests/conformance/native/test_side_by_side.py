"""The simulated and the native backend answer as the official package does, wherever no terminal is needed."""

from __future__ import annotations

import pytest

from mt5_bridge.backends.native import NativeBackend
from mt5_bridge.backends.simulated import SimulatedBackend
from tests.conformance.native.cases import all_cases, with_earlier_call
from tests.conformance.native.differences import KNOWN, LEFT, Difference, Outcome, aspects
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
            [known for known in KNOWN if known.explains(expression, aspect, theirs, ours)],
        )
        for aspect, theirs, ours in aspects(official, simulated_outcome(expression))
    ]


@pytest.mark.parametrize("group", CASES)
def test_the_simulated_backend_answers_as_the_package(group: str, official: dict[str, Outcome]) -> None:
    found = [pair for expression in CASES[group] for pair in explanations(expression, official[expression])]
    assert [text for text, known in found if not known] == []


def test_every_known_difference_is_still_there(official: dict[str, Outcome]) -> None:
    used = {
        known for expression, theirs in official.items() for _, all_known in explanations(expression, theirs)
        for known in all_known
    }  # fmt: skip
    assert [known.reason for known in KNOWN if known not in used] == []


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
