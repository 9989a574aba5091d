"""What a seed stands for: how large the farm is, how long the storm lasts and which faults it brings."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """Durations in seconds of true time."""

    seed: int
    nodes: int
    slots: int
    accounts: int
    storm: float
    sync_seconds: float
    watches: bool
    pace: float
    """Mean time between two faults."""
    faults: tuple[str, ...]
    """Kinds of fault that happen in this seed: a few each time, so that they meet in all combinations."""


def draw(seed: int, kinds: tuple[str, ...]) -> Scenario:
    chance = random.Random(seed)
    nodes = chance.choice((2, 2, 3, 3, 4, 6))
    accounts = chance.randint(2, 5)
    few = chance.randint(3, 8)
    return Scenario(
        seed=seed,
        nodes=nodes,
        slots=max(2, -(-accounts // max(1, nodes - 1))),
        accounts=accounts,
        storm=chance.uniform(300.0, 700.0),
        sync_seconds=chance.choice((10.0, 20.0, 25.0)) * max(1.0, nodes / 3),
        watches=chance.random() < 0.25,
        pace=chance.choice((12.0, 25.0, 50.0)),
        faults=tuple(sorted(chance.sample(kinds, min(few, len(kinds))))),
    )
