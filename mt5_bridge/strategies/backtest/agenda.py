"""At which closed bars a strategy is asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

import numpy as np

from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.strategies.base import Side

NEVER: Final = 2**62
Answers = Callable[[Side | None], Array | None]
"""What `Strategy.may_act` says of all bars of the timeframe with a position, or None."""


class Agenda:
    """A stretch of bars, numbered from 0, and those of them at which the strategy may act."""

    def __init__(self, closed: Array, needed: int, answers: Answers) -> None:
        """`closed` is how many bars of the timeframe have closed with each one."""
        self._closed = closed
        self._needed = needed
        self._answers = answers
        self._asked: dict[Side | None, list[int]] = {}

    def next(self, number: int, held: Side | None) -> int:
        """The first bar from `number` on at which a strategy that holds this may act, or `NEVER`."""
        asked = self._asked.get(held)
        if asked is None:
            asked = self._asked[held] = self._ask(held)
        place = bisect_left(asked, number)
        return asked[place] if place < len(asked) else NEVER

    def _ask(self, held: Side | None) -> list[int]:
        asked, answers = self._closed >= self._needed, self._answers(held)
        if answers is not None:
            asked &= answers[self._closed - 1]
        found: list[int] = np.flatnonzero(asked).tolist()
        return found
