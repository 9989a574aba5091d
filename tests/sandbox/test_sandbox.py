"""Nothing that code in a sandbox tries gets out of it; its neighbours do not notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mt5_bridge.sandbox.availability import why_not
from tests.sandbox.stage import Stage, raised

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with raised() as made:
        yield made


def test_every_attempt_is_refused_or_contained(stage: Stage) -> None:
    assert len(stage.attempts) >= 50
    outcomes = [stage.play(attempt) for attempt in stage.attempts]
    assert [(each.attempt.name, each.told) for each in outcomes if not each.held] == []
