"""Stages and desks for the rules of the behaviour notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.stage import Stage
from tests.trading_desk import Desk


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each report names the rules of its test, so that they can be counted."""
    for item in items:
        for mark in item.iter_markers("rule"):
            item.user_properties += [("rule", number) for number in mark.args]


@pytest.fixture
def desk() -> Desk:
    """An account at an exchange, without processes."""
    return Desk()


@pytest.fixture
def stages() -> Iterator[Callable[..., Stage]]:
    """Makes stages that end with the test."""
    made: list[Stage] = []

    def make(**options: Any) -> Stage:
        made.append(Stage(**options))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    """The usual stage."""
    return stages()


@pytest.fixture
def mt5(stage: Stage) -> Any:
    """The module of the usual stage, connected."""
    return stage.mt5
